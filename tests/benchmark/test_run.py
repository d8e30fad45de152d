"""Children in turns within a time limit: fake ones on a fake clock, and real ones that fail."""

import contextlib
import itertools

import pytest

from gtn_jax.benchmark import run
from gtn_jax.benchmark.child import Child, ChildError
from gtn_jax.benchmark.spec import Group, Spec

OURS, TORCH = Spec("train_step", batch_size=20), Spec("train_step", "torch", batch_size=20)
ABSENT, BREAKS = Spec("train_step", "flax"), Spec("train_step", "torch", "breaks")


class FakeChild:
    """Starts in 5 s, warm in 2; iterates in 2 s (ours) or 0.25.

    One never starts, one fails in its second repeat.
    """

    now = 0.0
    started: list[Spec] = []
    alive: list[Spec] = []

    def __init__(self, spec):
        self.spec, self.facts, self.memory = spec, {"flops": 60.0}, {"peak_rss_bytes": 7}
        self.amount, self.first_step_seconds = 20.0, 2.0 if spec in self.started else 5.0
        self.iteration_seconds = 2.0 if spec == OURS else 0.25
        self.repeats = itertools.count()
        self.started.append(spec)
        self.alive.append(spec)

    def wait_until_ready(self, timeout):
        FakeChild.now += self.first_step_seconds
        if self.spec == ABSENT:
            raise ChildError("flax is not installed")

    def warm_up(self, timeout):
        pass

    def repeat(self, iterations, timeout):
        if next(self.repeats) and self.spec == BREAKS:
            raise ChildError("ended with code -9")
        FakeChild.now += iterations * self.iteration_seconds
        return iterations * self.iteration_seconds

    def close(self):
        self.alive.remove(self.spec)


@pytest.fixture
def fake(monkeypatch):
    FakeChild.now, FakeChild.started, FakeChild.alive = 0.0, [], []
    monkeypatch.setattr(run, "Child", FakeChild)
    monkeypatch.setattr(run.time, "monotonic", lambda: FakeChild.now)


def measured(groups, minutes):
    saved = []
    rows = run.measure(groups, minutes, lambda line: None, saved.append)
    assert saved[-1] == rows and len(saved) == len(groups)
    assert FakeChild.alive == []
    return {(row.name.removeprefix("start/").split("/", 4)[-1], row.framework): row for row in rows}


def test_rates_ratios_and_failures(fake):
    groups = [Group("step", (OURS, TORCH, ABSENT, BREAKS)), Group("again", (OURS,))]
    rows = measured(groups, 10)
    ours, theirs = rows["float32", "gtn_jax"], rows["float32", "torch"]
    assert (ours.value, ours.repeats, theirs.value) == (10.0, 9, 80.0)
    assert rows["float32/ratio", "gtn_jax / torch"].value == 0.125
    assert rows["float32/ratio", "gtn_jax / torch_best"].value == 0.125
    assert rows["float32", "flax"].extra["reason"] == "flax is not installed"
    assert rows["float32", "torch_breaks"].extra["reason"] == "ended with code -9"
    assert rows["float32/ratio", "gtn_jax / torch_breaks"].value is None
    assert rows["float32/flops", "torch"].value == 3.0
    assert rows["float32/peak_rss_bytes", "gtn_jax"].value == 7
    # Alive from one group to the next, and one row for both.
    assert FakeChild.started == [OURS, TORCH, ABSENT, BREAKS]
    assert ours.extra["groups"] == ["step", "again"]


def test_time_is_shared_and_ends(fake):
    """Of 30 s the first group has 5; its starts take 10, and the fewest rounds three times 3."""
    groups = [Group("step", (OURS, TORCH)), Group("late", (OURS, TORCH, BREAKS), weight=5)]
    rows = measured(groups, 0.5)
    assert rows["float32", "gtn_jax"].repeats == 3
    assert FakeChild.now <= 30
    # Of 11 s the third start takes 5, and a round 4.
    assert rows["float32", "torch_breaks"].repeats == 1
    nothing = measured([Group("step", (OURS,))], 0)
    assert nothing["float32", "gtn_jax"].extra["reason"] == "the time of the run was over"


def test_starts(fake):
    """Rounds of 7 s: none begins that would not end."""
    rows = measured([Group("startup", (OURS,), rounds=(1, 3), starts=True)], 20 / 60)
    total = rows["float32/cold/total", "gtn_jax"]
    assert (total.value, total.repeats) == (5.0, 2)
    assert rows["float32/ratio", "warm / cold"].value == 0.4
    assert len({dict(spec.env)["JAX_COMPILATION_CACHE_DIR"] for spec in FakeChild.started}) == 2


def test_a_process_that_fails_says_why():
    unknown = Spec("train_step", backbone="resnet51")
    dies = Spec("devices", env=(("XLA_FLAGS", "--xla_no_such_flag=true"),))
    with contextlib.closing(Child(unknown)) as child, contextlib.closing(Child(dies)) as dead:
        with pytest.raises(ChildError, match="unknown backbone 'resnet51'"):
            child.wait_until_ready(60)
        with pytest.raises(ChildError, match="ended with code .*xla_no_such_flag"):
            dead.wait_until_ready(60)
    assert child._process.returncode is not None
