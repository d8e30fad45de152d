"""Streams that do not fail; what happens to a run is in bad_input/test_output.py."""

import io

import pytest

from gtn_jax.terminal import SteadyStream


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
