"""Every limit of a scenario at the limit and one beyond; nothing that the core would refuse gets past the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.peers.simulated import core_spec
from harness.scenario.expand import expand
from harness.scenario.model import Session
from punktfunk.core._core import simulate
from punktfunk.errors import PunktfunkError, ScenarioError

LIMITS: dict[str, tuple[Any, Any]] = {
    # key: (the last value that is taken, the first that is not)
    "stream.block": (32768, 32769),
    "stream.shard": ("9152 B", "9154 B"),
    "stream.queue_frames": (65_535, 65_536),
    "stream.pacing.burst": (65_535, 65_536),
    "stream.pacing.per_ms": (100_000, 100_001),
    "stream.pacing.rate_factor": (100.0, 100.001),
    "media.frames": (4_194_304, 4_194_305),
    "media.key_interval": (2**32 - 1, 2**32),
    "media.bitrate": ("400 Gbit/s", "400000001 kbit/s"),
    "media.frame_bytes.size": ("64 MiB", "67108865 B"),
    "link.down.rate": ("400 Gbit/s", "400000001 kbit/s"),
    "link.down.queue_packets": (1_000_000, 1_000_001),
    "link.down.queue_bytes": ("4 GiB", "4294967297 B"),
    "link.down.overhead": ("1500 B", "1501 B"),
    "link.down.delay": ("60 s", "60000001 us"),
    "link.down.jitter": ("60 s", "60000001 us"),
    "link.down.reorder.extra": ("60 s", "60000001 us"),
    "link.down.loss.burst": (10_000.0, 10_000.1),
    "link.down.loss.every": (2**32 - 1, 2**32),
    "link.down.duplicate": ("100 %", "100.1 %"),
    "link.up.delay": ("60 s", "60000001 us"),
    "seeds": (100_000, 100_001),
    "seed": (2**53 - 1, 2**53),
    "repeats": (1_000_000, 1_000_001),
}
LEAST: dict[str, tuple[Any, Any]] = {
    # key: (the last value that is taken, the first that is not)
    "stream.block": (64, 0),
    "stream.shard": ("16 B", "14 B"),
    "stream.queue_frames": (1, 0),
    "stream.pacing.burst": (1, 0),
    "stream.pacing.per_ms": (1, 0),
    "stream.pacing.rate_factor": (1.0, 0.999),
    "media.frames": (1, 0),
    "media.key_interval": (0, -1),
    "media.bitrate": ("1 kbit/s", "999 bit/s"),
    "media.duration": ("1 ns", "0 s"),
    "link.down.rate": ("1 kbit/s", "999 bit/s"),
    "link.down.queue_packets": (1, 0),
    "link.down.queue_bytes": ("1 B", "0 B"),
    "link.down.loss.burst": (1.0, 0.99),
    "link.down.loss.every": (1, 0),
    "seeds": (1, 0),
    "seed": (0, -1),
    "repeats": (1, 0),
}
BESIDE: dict[str, dict[str, Any]] = {
    "link.down.reorder.extra": {"rate": "1 %"},
    "link.down.loss.burst": {"rate": "1 %"},
    "link.down.loss.offset": {"every": 4},
    "media.bitrate": {"frame_bytes": "1 kB"},
}


def scenario(tmp_path: Path, key: str, value: Any) -> Path:
    """Write a small scenario on the simulated link with one value in it."""
    document: dict[str, Any] = {"media": {"frames": 1}, "link": {"backend": "sim"}}
    *way, last = key.split(".")
    place = document
    for step in way:
        place = place.setdefault(step, {})
    place |= {**BESIDE.get(key, {}), last: value}
    if key == "media.duration":
        del document["media"]["frames"]
    if key == "stream.block":
        document["stream"] |= {"fec": "0 %"}
    if key == "stream.shard":
        document["stream"]["block"] = 128  # a frame has at most 65,535 blocks
    file = tmp_path / "limits.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def taken_by_the_core(spec: Session) -> None:
    """Simulate the session's first frame: what the core refuses raises."""
    simulate(json.dumps(core_spec(spec, 1) | {"frames": 1}))


@pytest.mark.parametrize(("key", "pair"), [*LIMITS.items(), *LEAST.items()])
def test_a_value_at_its_limit_is_taken_also_by_the_core_and_one_beyond_is_not(
    tmp_path: Path, key: str, pair: tuple[Any, Any]
) -> None:
    cases = expand(scenario(tmp_path, key, pair[0])).cases
    taken_by_the_core(cases[0].spec)
    with pytest.raises(ScenarioError, match=key.split(".", maxsplit=1)[0]):
        expand(scenario(tmp_path, key, pair[1]))


@pytest.mark.parametrize(
    ("scheme", "fits", "beyond"),
    [
        ("gf8", [(212, 20), (255, 0), (127, 100), (170, 50)], [(213, 20), (256, 0), (128, 100), (171, 50)]),
        ("gf16", [(32767, 100), (18460, 255), (32768, 99)], [(32768, 100), (18461, 255)]),
    ],
)
def test_blocks_reach_the_limit_of_their_code_and_no_further(
    tmp_path: Path, scheme: str, fits: list[tuple[int, int]], beyond: list[tuple[int, int]]
) -> None:
    """GF(2^8) carries 255 shards a block (punktfunk/1 section 4.6), though the field has 256 elements."""
    file = tmp_path / "blocks.yaml"
    for block, fec in fits:
        total = block + -(-block * fec // 100)
        assert total <= {"gf8": 255, "gf16": 65535}[scheme]
        file.write_text(
            f"stream: {{scheme: {scheme}, block: {block}, fec: {fec} %}}\nlink: {{backend: sim}}\n"
        )
        taken_by_the_core(expand(file).cases[0].spec)
    for block, fec in beyond:
        file.write_text(f"stream: {{scheme: {scheme}, block: {block}, fec: {fec} %}}\n")
        with pytest.raises(ScenarioError, match=r"stream\.block: "):
            expand(file)


EXTREMES = [
    0,
    1,
    1000,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**400,
    -1,
    1e308,
    float("inf"),
    float("nan"),
]
UNITS = ["", " B", " GiB", " ns", " h", " bit/s", " Gbit/s", " %"]


@pytest.mark.parametrize(
    "key", sorted({*LIMITS, *LEAST, "link.down.loss.rate", "link.down.loss.offset", "timeout"})
)
def test_no_number_ends_in_anything_but_a_scenario_error_or_a_session_that_the_core_takes(
    tmp_path: Path, key: str
) -> None:
    taken = 0
    for number in EXTREMES:
        for unit in UNITS:
            value = number if not unit else f"{number}{unit}"
            try:
                cases = expand(scenario(tmp_path, key, value)).cases
            except ScenarioError:
                continue
            taken += 1
            if key not in {"seeds", "repeats"}:
                taken_by_the_core(cases[0].spec)
    assert taken, "at least one of them is in range"


def test_a_bitrate_makes_no_frame_that_the_wire_cannot_carry(tmp_path: Path) -> None:
    file = tmp_path / "fast.yaml"
    text = "media: {{bitrate: {} bit/s, mode: 1280x720@60, frames: 1}}\nlink: {{backend: sim}}\n"
    most = 64 * 1024 * 1024 * 8 * 60
    file.write_text(text.format(most))
    taken_by_the_core(expand(file).cases[0].spec)
    file.write_text(text.format(most + 8 * 60))
    with pytest.raises(ScenarioError, match=r"1:18: media\.bitrate: .* over the wire's limit of 64 MiB"):
        expand(file)


def test_the_matrix_has_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    text = "for: {{a: [1, 2, 3, 4]}}\nrepeats: {}\nlink: {{backend: sim}}\nmedia: {{frames: '${{a}}'}}\n"
    file.write_text(text.format(250_000))
    assert len(expand(file).cases) == 1_000_000
    file.write_text(text.format(250_001))
    with pytest.raises(ScenarioError, match="the matrix has 1000004 cases; at most 1000000 are run"):
        expand(file)


def test_what_the_core_refuses_is_named_by_it() -> None:
    """The check itself: a spec that is wrong for the core does raise here."""
    good = core_spec(Session.model_validate({"media": {"frames": 1}, "link": {"backend": "sim"}}), 1)
    with pytest.raises(PunktfunkError):
        simulate(json.dumps(good | {"frames": 0}))
