"""The page in a real Chromium: no error, no overflow on a small screen, words for every picture."""

import numpy as np
import pytest
from PIL import Image

from gtn_jax.analysis.report import write_report
from gtn_jax.config import override
from gtn_jax.training import loop
from tests.browser import CHROMIUM, NONE_THERE, chromium, on_a_small_screen

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=NONE_THERE)]


def test_page(tiny_config, tmp_path):
    config = override(tiny_config, {"training.epochs": 2, "data.image_size": 32})
    loop.run(config, tmp_path / "run", quiet=True, devices=1)
    write_report([tmp_path / "run"], tmp_path / "report.html")
    seen = on_a_small_screen(tmp_path, "report.html")
    assert seen.width <= 360
    assert seen[1:] == (24 + 3, 0, 0)

    for size in ((1200, 2400), (500, 2400)):
        picture = tmp_path / f"{size[0]}.png"
        seen = chromium(
            tmp_path, "report.html", f"--screenshot={picture}", "--window-size={},{}".format(*size)
        )
        assert "CONSOLE" not in seen.stderr
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.shape == size[::-1] and pixels.std() > 10
