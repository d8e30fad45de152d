"""What fits an annotation, and what to call it."""

from typing import Literal

import numpy as np
import pytest

from gtn_jax.config.fields import describe_kind, is_of


@pytest.mark.parametrize(
    ("kind", "fits", "does_not"),
    [
        (int, [1, -1, np.int64(3)], [1.0, True, "1", None]),
        (float, [1, 0.5, np.float32(1)], [True, "0.5", None, 1j]),
        (bool, [True, False], [0, "no", None]),
        (str, ["", "a"], [b"a", 1, None]),
        (int | None, [1, None], ["", 1.5]),
        (Literal["a", "b"], ["a"], ["c", None, 1]),
        (tuple[int, ...], [(), (1, 2)], [[1, 2], ("1",), 1]),
    ],
)
def test_kinds(kind, fits, does_not):
    assert all(is_of(kind, value) for value in fits)
    assert not any(is_of(kind, value) for value in does_not)


def test_words():
    assert describe_kind(int | None) == "a whole number, or None"
    assert describe_kind(Literal["a", "b"]) == "a or b"
    assert describe_kind(tuple[float, ...]) == "a row of a number"
