"""Compiled HLO as text -> what its devices exchange, and how many bytes.

Each instruction counts once, also inside a loop; a training step has none there.
"""

import math
import re

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_INSTRUCTION = re.compile(rf"= (?P<type>.*?) (?P<kind>{_KINDS})(?P<start>-start)?\(")
_SHAPE = re.compile(r"(?P<dtype>[a-z]+[0-9a-z]*)\[(?P<sizes>[0-9,]*)\]")
_ODD_BITS = {"pred": 8, "c64": 64, "c128": 128, "token": 0}


def collectives(hlo_text: str) -> list[tuple[str, int]]:
    """(kind, bytes of its result on one device) of every collective, in the order of the text.

    Of a pair "-start" and "-done" the start counts.
    """
    found = []
    for line in hlo_text.splitlines():
        match = _INSTRUCTION.search(line)
        if match is None:
            continue
        kind = match["kind"]
        sizes = [_bytes(shape["dtype"], shape["sizes"]) for shape in _SHAPE.finditer(match["type"])]
        if match["start"] and kind == "collective-permute":
            sizes = sizes[1:2]  # operand, result, two words of context
        elif match["start"] and kind != "all-reduce":
            sizes = sizes[len(sizes) // 2 :]  # operands, results
        found.append((kind, sum(sizes)))
    return found


def _bytes(dtype: str, sizes: str) -> int:
    bits = _ODD_BITS.get(dtype)
    if bits is None:
        digits = re.search(r"\d+", dtype)
        bits = int(digits.group()) if digits else 0
    count = math.prod(int(size) for size in sizes.split(",") if size)
    return -(-count * bits // 8)
