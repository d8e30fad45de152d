"""A headless Chromium that looks at pages on disk."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NONE_THERE = "needs chromium (Debian: apt install chromium)"

# A screen of 360 pixels: a frame of that width, and what in it is wider or has no words.
_PROBE = """<!DOCTYPE html><body style="margin:0">
<iframe src="{page}" width="360" height="800" style="border:0" onload="
  const page = this.contentDocument, images = [...page.querySelectorAll('{pictures}')];
  const silent = images.filter(i => !(i.alt || i.getAttribute('aria-label')));
  const broken = images.filter(i => i.tagName == 'IMG' && !i.naturalWidth);
  document.title = [page.documentElement.scrollWidth, images.length, silent.length,
                    broken.length].join(' ');
"></iframe>"""


class Seen(NamedTuple):
    """A page on a screen of 360 pixels.

    Attributes:
        width: of all of it, in pixels.
        images: of any kind.
        silent: those among them without a word for who cannot see them.
        broken: those that did not load.
    """

    width: int
    images: int
    silent: int
    broken: int


def chromium(folder: Path, page: str, *options: str) -> subprocess.CompletedProcess:
    """Open `folder / page`; lines of standard error with CONSOLE are the page's own."""
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


def on_a_small_screen(folder: Path, page: str, pictures: str = "img, svg") -> Seen:
    """What a telephone shows; `pictures` are looked for. Fails if the page complains."""
    probe = folder / "probe.html"
    probe.write_text(_PROBE.format(page=page, pictures=pictures))
    shown = chromium(folder, probe.name, "--dump-dom")
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", shown.stdout)
    assert title is not None, shown.stderr[-2000:]
    assert "CONSOLE" not in shown.stderr, shown.stderr[-2000:]
    return Seen(*map(int, title.groups()))
