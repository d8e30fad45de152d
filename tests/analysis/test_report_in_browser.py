"""The page in a real Chromium: no error, no overflow on a small screen, words for every picture."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.analysis.report import write_report
from gtn_jax.config import override
from gtn_jax.training import loop

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]

# A screen of 360 pixels: a frame of that width, and what in it is wider or has no words.
PROBE = """<!DOCTYPE html><body style="margin:0">
<iframe src="report.html" width="360" height="800" style="border:0" onload="
  const page = this.contentDocument, images = [...page.querySelectorAll('img, svg')];
  const silent = images.filter(i => !(i.alt || i.getAttribute('aria-label')));
  const broken = images.filter(i => i.tagName == 'IMG' && !i.naturalWidth);
  document.title = [page.documentElement.scrollWidth, images.length, silent.length,
                    broken.length].join(' ');
"></iframe>"""


def chromium(folder: Path, page: str, *options: str) -> subprocess.CompletedProcess:
    assert CHROMIUM is not None
    words = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--no-first-run", "--allow-file-access-from-files", "--enable-logging=stderr",
        "--virtual-time-budget=10000", f"--user-data-dir={folder / 'profile'}", *options,
        (folder / page).as_uri(),
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, env=environment, cwd=folder
    )


def test_page(tiny_config, tmp_path):
    config = override(tiny_config, {"training.epochs": 2, "data.image_size": 32})
    loop.run(config, tmp_path / "run", quiet=True, devices=1)
    write_report([tmp_path / "run"], tmp_path / "report.html")
    (tmp_path / "probe.html").write_text(PROBE)
    shown = chromium(tmp_path, "probe.html", "--dump-dom")
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", shown.stdout)
    assert title is not None, shown.stderr[-2000:]
    width, images, silent, broken = map(int, title.groups())
    assert width <= 360
    assert images == 24 + 3 and silent == broken == 0
    assert "CONSOLE" not in shown.stderr

    for size in ((1200, 2400), (500, 2400)):
        picture = tmp_path / f"{size[0]}.png"
        seen = chromium(
            tmp_path, "report.html", f"--screenshot={picture}", "--window-size={},{}".format(*size)
        )
        assert "CONSOLE" not in seen.stderr
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.shape == size[::-1] and pixels.std() > 10
