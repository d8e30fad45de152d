"""`make site`: no warning, every module has a page, and pages that a browser shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, on_a_small_screen

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_site(tmp_path):
    pytest.importorskip("sphinx")
    left_out = shutil.ignore_patterns("reference", "__pycache__")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=left_out)
    words = [
        *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"),
        *("--doctree-dir", "doctrees", "docs", "html"),
    ]
    built = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0 and not built.stderr, built.stderr

    html = tmp_path / "html"
    pages = {path.stem for path in html.glob("reference/*.html")}
    rooms = re.findall(r"^   (gtn_jax\.\w+)$", (ROOT / "docs/reference.md").read_text(), re.M)
    assert len(rooms) == 8
    for room in rooms:
        for file in (ROOT / room.replace(".", "/")).rglob("*.py"):
            module = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            assert module.removesuffix(".__init__") in pages
    # Shapes, errors and defaults are there.
    gate, training = (
        (html / f"reference/gtn_jax.{module}.html").read_text()
        for module in ("models.gate", "config.training")
    )
    assert "Half of the features, and 1/2." in gate and "unknown kind" in gate
    assert "parent" not in gate
    assert "Decay of an exponential moving average" in training

    if CHROMIUM is not None:
        for page in ("index", "tour", "results", "reference/gtn_jax.models.gtn"):
            # The theme's buttons are svg with a label beside them.
            seen = on_a_small_screen(html, f"{page}.html", "img")
            assert seen.width <= 360 and seen.silent == seen.broken == 0, (page, seen)
