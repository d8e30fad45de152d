"""In processes of their own: freed memory comes back without new pages; garbage collections."""

import subprocess
import sys

CODE = """
import resource, sys
from gtn_jax.training.allocator import keep_freed_memory

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


LISTS = """
import gc, sys
from gtn_jax.training.allocator import collect_garbage_rarely

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
