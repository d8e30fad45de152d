"""Many runs on one device and on two, with training replaced; time left."""

import threading
from pathlib import Path

import jax
import pytest

from gtn_jax.analysis import trials
from gtn_jax.analysis.trials import Clock, Trial, choose_devices, rough_time, run_trials
from gtn_jax.config import Config
from gtn_jax.training.divergence import Diverged


@pytest.fixture
def training(monkeypatch):
    """Notes which run went to which device, and in which thread."""
    seen: list = []

    def run(config, folder, quiet, devices):
        (device,) = devices
        assert jax.config.jax_default_device == device
        seen.append((folder.name, device.id, threading.current_thread()))
        if folder.name == "diverges":
            raise Diverged("not finite")
        if folder.name == "broken":
            raise ValueError("broken data")
        return {"name": folder.name}

    monkeypatch.setattr(trials, "run", run)
    return seen


def trial(name: str, kept: list, diverged=None) -> Trial:
    def finish(summary):
        kept.append(summary["name"])
        return f"kept {name}"

    return Trial(Config(), Path(name), finish, diverged)


@pytest.mark.parametrize("count", [1, 2])
def test_every_trial_runs_once(training, count):
    kept: list = []
    said: list = []
    names = [f"run{number}" for number in range(7)]
    devices = choose_devices(count)
    run_trials([trial(name, kept) for name in names], devices, Clock(7), said.append)
    assert sorted(kept) == sorted(name for name, _, _ in training) == names
    assert {device for _, device, _ in training} <= {device.id for device in devices}
    in_main = {thread is threading.main_thread() for _, _, thread in training}
    assert in_main == {count == 1}
    assert said[0].startswith("[1/7, about 0 s left] kept run")
    assert said[-1].startswith("[7/7, about 0 s left] kept run")


@pytest.mark.parametrize("count", [1, 2])
def test_a_trial_counts_when_it_is_over(training, monkeypatch, count):
    done: list = []
    monkeypatch.setattr(Clock, "tick", lambda self: done.append(len(training)) or "")
    run_trials([trial("run", [])], choose_devices(count), Clock(1), lambda line: None)
    assert done == [1]


@pytest.mark.parametrize("count", [1, 2])
def test_programs_are_let_go_when_nothing_runs(training, monkeypatch, count):
    cleared: list = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(len(training)))
    clock = Clock(25)
    run_trials([trial("run", [])] * 25, choose_devices(count), clock, lambda line: None)
    assert cleared == [10, 20]
    run_trials([trial("run", [])] * 5, choose_devices(count), clock, lambda line: None)
    assert cleared == [10, 20, 30]


def test_what_diverges_is_a_result_where_it_may_be(training):
    said: list = []
    may = trial("diverges", [], lambda: "noted")
    run_trials([may], choose_devices(1), Clock(1), said.append)
    assert said == ["[1/1, about 0 s left] noted"]
    with pytest.raises(Diverged):
        run_trials([trial("diverges", [])], choose_devices(1), Clock(1), said.append)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_ends_it(training, count):
    kept: list = []
    names = ["run0", "broken", *(f"run{number}" for number in range(1, 20))]
    with pytest.raises(ValueError, match="broken data"):
        asked = [trial(name, kept) for name in names]
        run_trials(asked, choose_devices(count), Clock(len(names)), lambda line: None)
    assert len(kept) < 19 and "run0" in kept


def test_one_cpu_is_all_the_cores():
    assert len(jax.local_devices()) == 4
    assert choose_devices(None) == jax.local_devices()[:1]
    assert choose_devices(3) == jax.local_devices()[:3]
    with pytest.raises(ValueError, match="count: invalid value 5; this process sees 4"):
        choose_devices(5)


def test_clock_by_hand(monkeypatch):
    now = iter([0.0, 10.0, 60.0])
    monkeypatch.setattr(trials.time, "monotonic", lambda: next(now))
    clock = Clock(10)
    assert clock.tick() == "[1/10, about 90 s left]"
    clock.add(10)
    assert clock.tick() == "[2/20, about 9 min left]"


def test_times_in_words():
    assert [rough_time(s) for s in (0.4, 99, 100, 5399, 5400)] == [
        "0 s", "99 s", "2 min", "90 min", "1.5 h"
    ]  # fmt: skip
