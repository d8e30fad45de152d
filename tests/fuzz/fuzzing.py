"""Sound bytes -> damaged ones, and what may come of them.

Nothing but a result, or an error of ours: `ValueError` or `OSError` of one to three lines that
names what it is about. `make test-slow` takes the same examples each time, `make fuzz` new ones
until it is stopped.
"""

import contextlib
import json
import os

import hypothesis
import hypothesis.configuration
import hypothesis.database
from hypothesis import strategies as st

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""Of each target, random ones; None: as many as it says, the same ones each time."""


def fuzz(examples: int, **arguments):
    """Run a test on so many examples."""
    database = hypothesis.database.DirectoryBasedExampleDatabase(".hypothesis")
    settings = hypothesis.settings(
        max_examples=int(EXAMPLES or examples),
        derandomize=EXAMPLES is None,
        database=None if EXAMPLES is None else database,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    return lambda test: settings(hypothesis.given(**arguments)(test))


@contextlib.contextmanager
def at_most_a_refusal(*names: str):
    """One of `names` stands in the error, if there is one."""
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error)
        assert 1 <= len(text.splitlines()) <= 3
        assert any(name in text for name in names), text


TOKENS = [
    b"", b"\0", b"\n", b"\r\n", b"/", b"../", b",", b" ", b'"', b"{", b"]", b"[" * 3000, b"-1",
    b"NaN", b"1e999", b"null", b"true", b"9" * 25, b"\xff\xfe", b"\xef\xbb\xbf", "é".encode(),
    bytes(512), b"\xff" * 8,
]  # fmt: skip


@st.composite
def damaged(draw, *sound: bytes):
    """One of the examples after a few edits; now and then something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200) | st.sampled_from(TOKENS))
    content = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(content)))
        # Headers are where it hurts.
        start = start % 64 if draw(st.booleans()) else start
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64, 1000]))
        new = draw(st.sampled_from(TOKENS) | st.binary(min_size=length, max_size=length))
        content[start : start + length] = new
        if draw(st.integers(0, 7)) == 0:
            del content[start:]
    return bytes(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner,
                                                                max_size=4),
    max_leaves=6,
)  # fmt: skip


@st.composite
def changed(draw, tree):
    """JSON text of a tree of which a few values, at any depth, are others or gone."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        node, key = {"": tree}, ""
        while isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 4)):
            node = node[key]
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if draw(st.integers(0, 4)) == 0 and key != "":
            del node[key]
        else:
            node[key] = draw(JSON)
            tree = node[""] if key == "" and "" in node else tree
    return json.dumps(tree)
