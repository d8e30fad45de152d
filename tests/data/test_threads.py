"""`ordered_map` keeps the order, and few items in flight."""

import os

import pytest

from gtn_jax.data import threads
from gtn_jax.data.threads import available_cores, ordered_map


@pytest.mark.parametrize(("in_flight", "most"), [(1, 4), (8, 18)])
def test_ordered_map_is_lazy(monkeypatch, in_flight, most):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    taken = []
    items = (taken.append(i) or i for i in range(1000))
    results = ordered_map(lambda i: i * i, items, in_flight)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    # Two threads; an item is taken before each of the last two results.
    assert len(taken) == most
    results.close()


def test_what_raises_is_raised_in_its_turn():
    results = ordered_map(lambda i: 1 // i, [2, 1, 0, 3])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_cores_are_those_that_the_process_may_use():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity here")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
