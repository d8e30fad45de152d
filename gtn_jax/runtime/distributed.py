"""Several processes, on one machine or many, that train one run together.

Every process runs the same program on the same batches and computes its devices' share
(devices.py). The primary process alone writes checkpoints, metrics and output, and broadcasts what
only it knows (time, its folder). All end together: each sends heartbeats through the coordination
service of `jax.distributed` (https://docs.jax.dev/en/latest/multi_process.html), and the primary
process ends all of them when one goes silent, fails or receives a signal.

JAX's own heartbeats (`heartbeat_timeout_seconds`) would abort the others with a C++ trace, and
forward neither signals nor exit codes.
"""

import atexit
import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from gtn_jax.errors import ArgumentError, one_line
from gtn_jax.runtime.interruption import Interrupted, active

JOIN_SECONDS = 300.0
"""How long the first process waits for the last one to start."""
BEAT_SECONDS = 1.0
SILENCE_SECONDS = 20.0
"""Time without a heartbeat after which a process, and the run, is given up."""
LOST = 134
"""Exit code of the remaining processes: that of an abort, as when JAX ends them."""
_END, _SIGNAL, _BEAT = "gtn/end", "gtn/signal", "gtn/beat/"


def is_primary() -> bool:
    """Whether this process is the one that writes; true for a single process."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def broadcast_from_primary(value: int) -> int:
    """The primary process's value, in all processes; a collective."""
    return int(received(value))


def received(tree: Any) -> Any:
    """The primary process's arrays, in all processes, which pass arrays of the same shapes; a
    collective."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.distributed.is_initialized() else tree


@contextlib.contextmanager
def distributed_session(
    coordinator: str | None, processes: int | None, process: int | None
) -> Iterator[None]:
    """Join the other processes, and end with them.

    Args:
        coordinator: HOST:PORT of the first process, or "auto", as TPU pods, Slurm, Open MPI and
            Kubernetes define it; None: a single process.
        processes: their number; None with "auto".
        process: index of this one, from 0; None with "auto".

    Raises:
        ValueError: inconsistent arguments, a port in use, or no answer.
    """
    if coordinator is None and processes is None and process is None:
        yield
        return
    given = coordinator if coordinator != "auto" else None
    if (given is None) != (processes is None) or (given is None) != (process is None):
        raise ArgumentError(
            "coordinator", "HOST:PORT needs `processes=N` and `process=NUMBER`, auto needs neither"
        )
    assert coordinator is not None
    if given is not None and process == 0:
        _check_port(given)
    # It would take SIGTERM away from interruption.py.
    jax.config.update("jax_enable_preemption_service", False)
    late = threading.Timer(JOIN_SECONDS, _give_up, (coordinator,))
    late.daemon = True
    late.start()
    try:
        # Longer than our own timeout, as JAX's aborts with a C++ trace.
        timeout = round(2 * JOIN_SECONDS)
        jax.distributed.initialize(given, processes, process, initialization_timeout=timeout)
    except Exception as error:
        raise _no_cluster(coordinator, one_line(error)) from error
    finally:
        late.cancel()
    member = _Member()
    member.start()
    try:
        yield
        broadcast_from_primary(0)  # wait until the primary process has written everything
        member.over.set()
    except BaseException as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "EXHAUSTED" not in str(error):
            lost = _lost(error)
            member.leave_with(lost, LOST)
            raise lost from error
        member.leave_with(error, error.exit_code if isinstance(error, Interrupted) else 1)
        raise


def _check_port(coordinator: str) -> None:
    """Refuse a port that cannot be bound, at which JAX's service would abort the process."""
    port = coordinator.rpartition(":")[2]
    address = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f"[::]:{port}")
    host, _, number = address.rpartition(":")
    host = host.strip("[]")
    if not number.isdecimal() or not 0 < int(number) < 2**16:
        raise ArgumentError("coordinator", f"{coordinator}: expected HOST:PORT, a port below 65536")
    try:
        if ":" not in host:
            socket.create_server((host, int(number))).close()
        elif socket.has_dualstack_ipv6():
            options: dict[str, Any] = {"dualstack_ipv6": host == "::"}
            socket.create_server((host, int(number)), family=socket.AF_INET6, **options).close()
        else:
            socket.create_server(("", int(number))).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"coordinator: port {number} of {socket.gethostname()} is in use by another "
                "process; choose another, or wait for its end"
            ) from error


def _no_cluster(coordinator: str, reason: str) -> ValueError:
    return ValueError(
        f"coordinator: {coordinator}: no cluster of processes ({reason})\n"
        "start the same command in every process; see docs/clusters.md"
    )


def _give_up(coordinator: str) -> NoReturn:
    reason = f"not all of them have come within {JOIN_SECONDS:.0f} s"
    print(f"error: {_no_cluster(coordinator, reason)}", file=sys.stderr)
    _leave(LOST)


def _lost(error: BaseException) -> ValueError:
    return ValueError(
        f"coordinator: the connection to another process broke ({one_line(error)}).\n"
        "Start all of them again: the run resumes from its last checkpoint"
    )


class _Member:
    """This process's heartbeats: two daemon threads.

    One exchanges messages with the coordination service every second. The other checks that it
    still does, as a call to a hanging coordinator never returns.
    """

    def __init__(self) -> None:
        # jax.distributed (0.10 to 0.12) has no public key-value store; Orbax uses this one, too.
        from jax._src import distributed

        self._client: Any = distributed.global_state.client
        self._me, self._count = jax.process_index(), jax.process_count()
        self.over = threading.Event()
        self._answered = time.monotonic()

    def start(self) -> None:
        if self._me:
            active().leave_to_others()
        for work in (self._exchange, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def leave_with(self, error: BaseException, code: int) -> None:
        """End all processes with the error of this one."""
        if self._me:
            # The primary process may have failed likewise, and be saving; it ends all.
            time.sleep(SILENCE_SECONDS)
        self.over.set()
        with contextlib.suppress(Exception):
            end = {"process": self._me, "code": code, "reason": one_line(error)}
            self._send(_END, json.dumps(end))
        # JAX's shutdown would deadlock, or abort processes that have not read the message yet.
        atexit.register(_leave, code, 0.0 if self._me else 2 * BEAT_SECONDS)

    def _send(self, key: str, value: str) -> None:
        self._client.key_value_set(key, value, allow_overwrite=True)

    def _exchange(self) -> None:
        beats: dict[int, tuple[str, float]] = {}
        count = 0
        while not self.over.wait(BEAT_SECONDS):
            count += 1
            try:
                self._send(f"{_BEAT}{self._me}", str(count))
                if active().forwarded is not None:
                    self._send(_SIGNAL, str(active().forwarded))
                messages = dict(self._client.key_value_dir_get("gtn/"))
            except Exception:  # `_watch` limits how long
                continue
            self._answered = time.monotonic()
            if _END in messages:
                self._end(messages[_END])
            if self._me:
                continue
            if _SIGNAL in messages:
                active().receive(int(messages[_SIGNAL]))
            for other in range(1, self._count):
                beat = messages.get(f"{_BEAT}{other}", "")
                if beats.get(other, (None,))[0] != beat:
                    beats[other] = beat, time.monotonic()
                elif time.monotonic() - beats[other][1] > SILENCE_SECONDS:
                    reason = f"silent for {SILENCE_SECONDS:.0f} s"
                    end = json.dumps({"process": other, "code": LOST, "reason": reason})
                    self._send(_END, end)
                    time.sleep(2 * BEAT_SECONDS)  # until the others have read it
                    self._end(end)

    def _end(self, message: str) -> NoReturn:
        end = json.loads(message)
        print(
            f"error: process {end['process']} of {self._count} ended: {end['reason']}",
            file=sys.stderr,
        )
        _leave(end["code"])

    def _watch(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            silence = time.monotonic() - self._answered
            if silence > SILENCE_SECONDS:
                print(
                    f"error: process {self._me} of {self._count} has heard nothing of process 0 "
                    f"for {silence:.0f} s",
                    file=sys.stderr,
                )
                _leave(LOST)


def _leave(code: int, after_seconds: float = 0.0) -> NoReturn:
    time.sleep(after_seconds)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
