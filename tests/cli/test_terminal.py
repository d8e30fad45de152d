"""Streams that do not fail; what happens to a run is in bad_input/test_output.py."""

import io

import pytest

from gtn_jax.cli import terminal
from gtn_jax.cli.terminal import SteadyStream


class Failing(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_the_first_error_is_kept():
    stream = SteadyStream(Failing())
    assert stream.failure() is None
    assert stream.write("a") == 1
    stream.write("b")
    failure = stream.failure()
    assert failure is not None and failure.errno == 28


def test_a_closed_stream_fails_when_it_is_written_to():
    stream = SteadyStream(None)
    assert stream.failure() is None and not stream.isatty()
    stream.write("a")
    assert str(stream.failure()) == "it is closed"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", b"\xc3\xa9\\udcff"), ("ascii", b"\\xe9\\udcff")]
)
def test_what_an_encoding_cannot_say_is_an_escape(encoding, shown):
    """The name of a file need be no text."""
    raw = io.BytesIO()
    stream = SteadyStream(io.TextIOWrapper(raw, encoding))
    stream.write("é\udcff")
    assert stream.failure() is None
    assert raw.getvalue() == shown
    assert stream.encoding == encoding


def test_counting_says_a_line_now_and_then(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with terminal.Counting("files") as counting:
        for done in range(1, 10):
            counting.show(done, 9)
    said = capsys.readouterr()
    # Begun at 0; asked at 4, 8, 12 (a line, noted as of 16), 20, 24, 28 (as of 32), 36, 40, 44.
    assert said.out == "" and said.err.splitlines() == [
        "3 of 9 files", "6 of 9 files", "9 of 9 files"
    ]  # fmt: skip
