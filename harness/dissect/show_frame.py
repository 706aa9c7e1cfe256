"""One frame of a capture on a terminal: its blocks as maps of their shards, what FEC made of them, and its packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from harness.dissect.frames import Block, Frame
from harness.dissect.reading import Row, Survey
from harness.dissect.rebuild import BlockFound, fingerprint
from harness.dissect.show import fates, milliseconds, packet_table
from harness.dissect.streams import Stream
from punktfunk.rich_terminal import Console

_MAP_WIDTH: Final = 64
_MAP_LINES: Final = 16
_SHOWN_NUMBERS: Final = 40


def one_frame(
    console: Console,
    survey: Survey,
    stream: Stream,
    frame: Frame,
    *,
    rows: Sequence[Row],
    blocks: Mapping[int, BlockFound],
    access_unit: bytes | None,
    limit: int,
) -> None:
    """Print one frame: its blocks as maps of their shards, what FEC made of them, and its packets."""
    console.print()
    size = "" if frame.frame_bytes is None else f", {frame.frame_bytes:,} bytes"
    kind = "key frame" if frame.key else "frame"
    blocks_said = f"{frame.blocks} block{'s' * (frame.blocks != 1)}"
    console.print(
        f"{kind} {frame.number} of stream {stream.number}{size}, {blocks_said}: {frame.packets:,} packets in "
        f"{(frame.last_ns - frame.first_ns) / 1e6:.3f} ms from {milliseconds(frame.first_ns, survey.first_ns)} ms",
        markup=False,
        highlight=False,
    )
    fate = fates(survey.received.get(stream.number)).get(frame.number)
    if fate is not None:
        console.print(f"by a receiver's rules: {fate}", markup=False)
    for at, found in blocks.items():
        _one_block(console, at, found)
    if len(blocks) < frame.blocks:
        console.print(f"of {frame.blocks - len(blocks)} blocks nothing came", markup=False)
    if access_unit is not None:
        console.print(
            f"access unit: {len(access_unit):,} bytes, SHA-256 {fingerprint(access_unit)}…, begins "
            f"{access_unit[:16].hex(' ')}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    console.print()
    console.print(packet_table(rows[:limit], survey.first_ns, of_one_frame=True))
    if len(rows) > limit:
        console.print(f"… {len(rows) - limit:,} more packets: --limit", markup=False)


def _one_block(console: Console, at: int, found: BlockFound) -> None:
    block = found.block
    lost = block.lost()
    came = f"{block.data:,} of {block.k:,} data and {block.recovery:,} of {block.m:,} recovery shards came"
    console.print(f"block {at + 1}: {came}", markup=False, highlight=False)
    did = _did(found)
    console.print(f"  {did}", markup=False, highlight=False, soft_wrap=True)
    if lost:
        shown = [f"{index}" if index < block.k else f"r{index - block.k}" for index in lost[:_SHOWN_NUMBERS]]
        more = " …" if len(lost) > _SHOWN_NUMBERS else ""
        console.print(f"  lost: {' '.join(shown)}{more}", markup=False, highlight=False)
    total = block.k + block.m
    for begin in range(0, min(total, _MAP_LINES * _MAP_WIDTH), _MAP_WIDTH):
        line = Text("  ")
        for index in range(begin, min(begin + _MAP_WIDTH, total)):
            sign = _sign(block, index)
            line.append(sign, style="bold red" if sign == "." else "cyan" if index >= block.k else "")
        console.print(line)
    if total > _MAP_LINES * _MAP_WIDTH:
        console.print(f"  … {total - _MAP_LINES * _MAP_WIDTH:,} more shards", markup=False)
    console.print(
        f"  # came  . lost  2 twice  + came when the block was whole; the last {block.m:,} are recovery",
        style="dim",
        markup=False,
        highlight=False,
    )


def _did(found: BlockFound) -> str:
    """Return in words whether a block could be had, and was."""
    block = found.block
    if not block.whole:
        did = f"not recoverable: {block.k - len(block.came)} more shards of any kind were needed"
    elif found.why:
        did = f"recoverable, but not recovered: {found.why}"
    elif found.rebuilt:
        did = f"recoverable, and recovered: FEC gives data shards {_ranges(found.rebuilt)}"
    elif block.rebuilt:
        did = f"recovered: FEC rebuilt {block.rebuilt} data shards before they came after all"
    else:
        did = "all data came; FEC had nothing to do"
    if found.agreeing or found.contradicting:
        did += f"; {found.agreeing} of {found.agreeing + found.contradicting} recovery shards agree with the data"
    return did


def _sign(block: Block, index: int) -> str:
    """Return what stands for a shard in the map of its block."""
    if index not in block.came:
        return "."
    if index in block.again:
        return "2"
    return "+" if index in block.surplus else "#"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as ``3, 7-9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(begin) if begin == end else f"{begin}-{end}" for begin, end in runs[:20]]
    return ", ".join(shown) + (" …" if len(runs) > 20 else "")
