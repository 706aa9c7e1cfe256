"""Each fuzz target understands its seeds, and holds for mutations of them; ``nox -s fuzz`` goes on from there."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

CASES = 40
"""Mutations a target; some 0.1 ms each."""


def mutated(target: Target, seeds: list[bytes], draw: random.Random) -> bytes:
    """Return a seed with up to four edits: bytes changed, taken out or doubled, words put in."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        end = at + draw.randrange(16)
        edit = draw.randrange(4)
        if edit == 0:
            data[at : at + 1] = draw.randbytes(1)
        elif edit == 1:
            del data[at:end]
        elif edit == 2:
            data[at:at] = data[at:end]
        else:
            data[at:at] = draw.choice([*target.words, b"\xff\xff"])
    return bytes(data[: target.longest])


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_a_target_understands_its_seeds_and_holds_beside_them(target: Target, rng: random.Random) -> None:
    seeds = target.seeds()
    for seed in seeds:
        assert len(seed) <= target.longest
        assert target.run(seed)
    assert not target.check(b"\xff" * 8), "what is nothing is not understood"
    for _ in range(CASES):
        data = mutated(target, seeds, rng)
        try:
            target.check(data)
        except Exception as error:
            error.add_note(f"the input was {data!r}")
            raise
