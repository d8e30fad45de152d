"""In processes of their own: large pages, freed memory that comes back; garbage collections."""

import os
import subprocess
import sys

import pytest

from gtn_jax.runtime import allocator

CODE = """
import resource, sys
from gtn_jax.runtime.allocator import keep_freed_memory

def faults_of(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(megabytes * 2**20)  # zeroed, which touches every page, and freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults_of(100)
print(faults_of(100))
"""


def faults(mode: str) -> int:
    command = [sys.executable, "-c", CODE, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_freed_memory_is_taken_again():
    # 100 MB are 25,600 pages of 4 kB, each time anew without it.
    assert faults("keep") < 1_000 < 25_000 < faults("plain")


AGAIN = """
import os, sys
from pathlib import Path
from gtn_jax.runtime import allocator

allocator._MODE = Path(sys.argv[1])
print(os.getpid(), *sys.argv[2:], os.environ.get("GLIBC_TUNABLES"), flush=True)
allocator.start_again_with_huge_pages()
print("end")
"""


@pytest.fixture
def started(tmp_path):
    """Run AGAIN under a mode of the kernel's; the lines it prints."""

    if allocator._glibc() < allocator._SINCE:
        pytest.skip("no glibc that knows of huge pages")

    def run(mode: str, tunables: str | None = None) -> list[list[str]]:
        file = tmp_path / "enabled"
        file.write_text(mode)
        environment = {key: os.environ[key] for key in os.environ if key != "GLIBC_TUNABLES"}
        environment |= {} if tunables is None else {"GLIBC_TUNABLES": tunables}
        command = [sys.executable, "-c", AGAIN, str(file), "a b", ""]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return [line.split(" ") for line in done.stdout.splitlines()]

    return run


def test_a_process_starts_again_once_with_the_same_arguments(started):
    first, second, last = started("always [madvise] never\n")
    assert first == [first[0], "a", "b", "", "None"]
    assert second == [first[0], "a", "b", "", "glibc.malloc.hugetlb=1"]
    assert last == ["end"]


def test_what_the_user_wished_of_the_allocator_stays(started):
    _, second, last = started("always [madvise] never\n", "glibc.malloc.arena_max=2")
    assert second[-1] == "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    assert last == ["end"]
    first, last = started("always [madvise] never\n", "glibc.malloc.hugetlb=0")
    assert (first[-1], last) == ("glibc.malloc.hugetlb=0", ["end"])


def test_no_second_start_where_it_would_not_help(started):
    for mode in ("[always] madvise never\n", "always madvise [never]\n", ""):
        first, last = started(mode)
        assert (first[-1], last) == ("None", ["end"])


LISTS = """
import gc, sys
from gtn_jax.runtime.allocator import collect_garbage_rarely

if sys.argv[1] == "rarely":
    collect_garbage_rarely()
kept = [[] for _ in range(1_000_000)]
print(sum(generation["collections"] for generation in gc.get_stats()))
"""


def test_few_collections():
    def collections(mode: str) -> int:
        command = [sys.executable, "-c", LISTS, mode]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert collections("rarely") < 100 < 500 < collections("plain")
