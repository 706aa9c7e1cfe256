"""What came of a frame is counted from its shards: k of them make a block whole, what comes later is surplus."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from harness.dissect.frames import Frame, Numbers, Outcome, Shard

SHARD = Shard(frame=5, block=0, blocks=1, index=0, k=3, m=2, frame_bytes=100)


def frame() -> Frame:
    return Frame(5, SHARD.blocks, SHARD.frame_bytes)


def test_the_kth_shard_of_any_kind_makes_a_block_whole_and_fec_rebuilds_what_is_missing() -> None:
    found = frame()
    assert found.add(SHARD, 10) is Outcome.USED
    assert found.add(replace(SHARD, index=3), 11) is Outcome.USED
    assert not found.whole
    assert (found.short_of, found.rebuilt) == (1, 0)
    assert found.add(replace(SHARD, index=4), 12) is Outcome.WHOLE
    assert found.whole
    assert (found.data, found.recovery, found.rebuilt, found.lost, found.surplus) == (1, 2, 2, 2, 0)
    assert found.found[0].lost() == [1, 2]
    assert (found.first_ns, found.last_ns, found.packets) == (10, 12, 3)


def test_what_comes_when_a_block_is_whole_is_surplus_and_no_loss() -> None:
    found = frame()
    for index in (0, 1, 3):
        found.add(replace(SHARD, index=index), index)
    assert found.add(replace(SHARD, index=2), 20) is Outcome.SURPLUS
    assert (found.lost, found.rebuilt, found.surplus, found.data) == (1, 1, 1, 3)
    assert found.damaged, "shard 2 was late, and FEC had to do its work"


def test_a_shard_that_comes_again_counts_once() -> None:
    found = frame()
    found.add(SHARD, 1)
    assert found.add(SHARD, 2) is Outcome.TWICE
    assert found.add(SHARD, 3) is Outcome.TWICE
    assert (found.data, found.twice, found.found[0].again) == (1, 2, {0: 2})


def test_each_block_has_to_be_whole_and_one_of_which_nothing_came_is_none() -> None:
    found = Frame(5, 2, 100)
    for block in (0, 1):
        for index in (0, 1, 2)[: 3 - block]:
            found.add(replace(SHARD, block=block, blocks=2, index=index), 1)
        assert not found.whole
    assert found.short_of == 1
    assert found.add(replace(SHARD, block=1, blocks=2, index=4), 2) is Outcome.WHOLE
    assert found.whole


@pytest.mark.parametrize(
    "other", [{"blocks": 2}, {"frame_bytes": 101}, {"frame_bytes": None}, {"k": 4}, {"m": 1}]
)
def test_a_packet_that_contradicts_the_first_one_changes_nothing(other: dict[str, int]) -> None:
    found = frame()
    found.add(SHARD, 1)
    assert found.add(replace(SHARD, index=1, **other), 2) is Outcome.CONTRADICTS
    assert (found.data, found.k, found.m, found.blocks) == (1, 3, 2, 1)


@pytest.mark.parametrize(
    ("place", "possible"),
    [
        ({}, True),
        ({"index": 4}, True),
        ({"index": 5}, False),
        ({"k": 0}, False),
        ({"blocks": 0}, False),
        ({"block": 1}, False),
        ({"k": 65_535, "m": 0}, True),
        ({"k": 65_535, "m": 1}, False),
    ],
)
def test_a_shard_beyond_its_block_is_impossible(place: dict[str, int], possible: bool) -> None:
    assert replace(SHARD, **place).possible is possible


def numbers(*came: int) -> Numbers:
    found = Numbers()
    for number in came:
        found.add(number)
    return found


@pytest.mark.parametrize(
    ("came", "missing", "twice", "reordered"),
    [
        ((0, 1, 4, 5), 2, 0, 0),
        ((0, 3, 1, 2, 4), 0, 0, 2),
        ((3, 4), 3, 0, 0),
        ((0, 0, 2, 2, 3), 1, 2, 0),
        ((4095, 4096), 4095, 0, 0),
        ((4096, 4099), 2, 0, 0),
        ((9000, 8999, 9001), 0, 0, 1),
    ],
)
def test_numbers_say_what_is_missing_came_twice_or_after_a_later_one(
    came: tuple[int, ...], missing: int, twice: int, reordered: int
) -> None:
    found = numbers(*came)
    assert (found.missing, found.duplicates, found.reordered) == (missing, twice, reordered)
    assert numbers().missing == 0


def test_fec_makes_no_more_than_a_frame_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """One packet of a capture that says it has 65,534 recovery shards would be 4 GB of them."""
    from harness.dissect import rebuild
    from harness.dissect.reading import Row
    from harness.dissect.streams import Stream
    from harness.dissect.wires import Kind, Video

    monkeypatch.delattr(rebuild, "fec_encode")
    shard = replace(SHARD, k=1, m=65_534)
    stream = Stream(1, ("::1", 1), ("::1", 2), Kind.PLAIN, shard_bytes=60_000, scheme=1)
    stream.frames[5] = frame()
    stream.frames[5].add(shard, 10)
    kept = rebuild.FramePackets(1, 5)
    kept.see(Row(1, 10, stream, 60_040, "data", Video(0, 32, shard, bytes(60_040), frame=5)))
    blocks = kept.blocks(stream)
    assert blocks[0].why == "its 65,535 shards would have more than 128 MiB"
    assert kept.access_unit(stream, blocks) is None


def test_brackets_in_what_a_peer_says_are_shown_and_no_markup() -> None:
    from harness.dissect import show
    from harness.dissect.quic import Said
    from harness.dissect.reading import Survey
    from punktfunk.rich_terminal import Console

    words = "close 0x1 gone [/red] [bold]x"
    out = io.StringIO()
    show.said(
        Console(width=show.WIDTH, file=out, highlight=False),
        Survey(Path("a.pcapng"), said=[Said(1, True, words)]),
    )
    assert words in out.getvalue()
