"""A capture on a terminal of a hundred columns: its streams, its damaged frames, its packets, one frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from rich.table import Table
from rich.text import Text

from harness.dissect.datagrams import LINKTYPES
from harness.dissect.frames import Frame
from harness.dissect.quic import BEGAN_BEFORE, NO_SECRETS
from harness.dissect.reading import Received, Row, Survey
from harness.dissect.second_opinion import Opinion
from harness.dissect.streams import Stream
from harness.dissect.wires import Kind
from punktfunk.addresses import written
from punktfunk.printable import printable
from punktfunk.rich_terminal import Console

WIDTH: Final = 100
"""Columns of what goes to a file or a pipe."""
_STATUS: Final = {0: "whole", 1: "lost", 2: "expired"}
_UNCOUNTED: Final = frozenset(
    {Kind.QUIC, Kind.GAME_CONTROL, Kind.GAME_PING, Kind.GAME_SOUND, Kind.OTHER, Kind.PUNCH}
)
_CLOSED: Final = {
    BEGAN_BEFORE: ", and no secret of a key log opens what is there; capture from before the client connects",
    NO_SECRETS: "; SSLKEYLOGFILE has to be set where host or client runs",
}
_SAID_SHOWN: Final = 12
_ROUTINE: Final = "Clock"
"""What messages begin with that each session has sixteen of."""


def overview(console: Console, survey: Survey) -> None:
    """Print what is in a capture, stream by stream."""
    where = ", ".join(
        f"{interface.name or 'interface'} ({LINKTYPES.get(interface.linktype, f'link type {interface.linktype}')})"
        for interface in survey.interfaces[:4]
    )
    began = datetime.fromtimestamp(survey.first_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    missed = (
        "" if survey.missed is None else f", {survey.missed:,} missed" if survey.missed else ", none missed"
    )
    console.print(
        f"{printable(str(survey.path))}: {survey.format}, {where or 'no interface'}\n"
        f"{survey.packets:,} packets in {(survey.last_ns - survey.first_ns) / 1e9:.3f} s from {began}{missed}",
        markup=False,
        soft_wrap=True,
    )
    for line in _warnings(survey):
        console.print(Text(line, style="yellow"), soft_wrap=True)
    table = _table("", "from → to", "what", ">packets", ">size", ">missing", ">twice", ">reordered")
    table.padding = (0, 1, 0, 0)  # two IPv4 addresses with ports stand in a line then
    for stream in survey.streams:
        counted = stream.kind not in _UNCOUNTED
        numbers = stream.numbers
        table.add_row(
            str(stream.number),
            f"{written(*stream.source)} → {written(*stream.destination)}",
            str(stream.kind),
            f"{stream.packets:,}",
            _size(stream.total_bytes),
            _count(numbers.missing) if counted else "",
            _count(numbers.duplicates) if counted else "",
            _count(numbers.reordered) if counted else "",
        )
    console.print(table)


def _warnings(survey: Survey) -> Iterable[str]:
    if survey.damage:
        yield f"the file is malformed or cut off: {survey.damage}; what came before is shown"
    if survey.unread:
        yield f"only the first {survey.packets:,} packets were read (--max-packets)"
    if survey.missed:
        yield f"the capturing program missed {survey.missed:,} packets: what is missing here may have come"
    if survey.others:
        yield "no UDP datagrams: " + ", ".join(
            f"{count:,} {what}" for what, count in survey.others.most_common(6)
        )
    damaged = {stream.number: stream.damaged for stream in survey.streams if stream.damaged}
    if damaged:
        yield (
            f"wrong checksums: {', '.join(f'{count:,} in stream {n}' for n, count in list(damaged.items())[:6])}; no "
            "socket gets these (a sender's own capture has them before its card fills them in: --ignore-checksums)"
        )
    for why, hint in _CLOSED.items():
        closed = [str(number) for number, reason in survey.closed.items() if reason == why]
        if closed:
            more = f" and {len(closed) - 6} more" if len(closed) > 6 else ""
            yield f"QUIC of stream {', '.join(closed[:6])}{more} stays closed: {why}{hint}"
    if survey.keys_left_out:
        yield f"{survey.keys_left_out:,} older lines of the key log were left out: the newest are kept"
    if survey.streams.beyond:
        yield f"{survey.streams.beyond:,} datagrams are of too many streams and not shown"


def verdicts(console: Console, stream: Stream, received: Received | None) -> None:
    """Print in a few lines what came of a stream's frames."""
    console.print()
    unread = sum(stream.unread.values())
    if not stream.readable:
        why = ", ".join(f"{count:,} {reason}" for reason, count in stream.unread.most_common(3))
        console.print(
            f"stream {stream.number}: no header could be read ({why})", markup=False, soft_wrap=True
        )
        if stream.unread.get("sealed"):
            console.print("  give its key: --keys with a key log, or --key", markup=False)
        return
    frames = list(stream.frames.values())
    whole = [frame for frame in frames if frame.whole]
    by_fec = sum(frame.rebuilt > 0 for frame in whole)
    first, last = min(stream.frames), max(stream.frames)
    lines = [
        f"stream {stream.number}: frames {first} to {last}, {len(frames):,} seen; {len(whole):,} whole, of which "
        f"{by_fec:,} by FEC ({sum(frame.rebuilt for frame in whole):,} data shards rebuilt); "
        f"{len(frames) - len(whole):,} not"
    ]
    if last - first + 1 > len(frames):
        lines.append(f"  {last - first + 1 - len(frames):,} frames between them left no packet")
    if unread:
        why = ", ".join(f"{count:,} {reason}" for reason, count in stream.unread.most_common(3))
        lines.append(f"  not read: {why}")
    if received is not None:
        c = received.counters
        twice = c["packets_duplicate"] + c["rejected_replay"]
        rejected = sum(
            n for name, n in c.items() if name.startswith("rejected_") and name != "rejected_replay"
        )
        lines.append(
            f"  by a receiver's rules: {c['frames_complete']:,} complete ({c['frames_decodable']:,} decodable), "
            f"{c['frames_expired']:,} too late, {c['frames_unrecoverable']:,} lost"
        )
        lines.append(
            f"  its packets: {c['packets_used']:,} used, {c['packets_surplus']:,} of them not needed any more; "
            f"{c['packets_late']:,} late, {twice:,} twice, {rejected:,} rejected"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def said(console: Console, survey: Survey) -> None:
    """Print the control messages that a key log has opened."""
    if not survey.said:
        return
    table = _table(">ms", "by", "control")
    telling = [words for words in survey.said if not words.text.startswith(_ROUTINE)]
    for words in telling[:_SAID_SHOWN]:
        who = "host" if words.from_host else "client"
        # As Text: a string would be read as rich's markup, and a peer's brackets end the program or are not shown.
        table.add_row(milliseconds(words.time_ns, survey.first_ns), who, Text(printable(words.text)))
    console.print()
    console.print(table)
    more = len(survey.said) - len(telling[:_SAID_SHOWN]) + survey.said_beyond
    if more > 0:
        console.print(f"… {more:,} more: --filter 'kind == QUIC'", markup=False)


def frames(
    console: Console,
    survey: Survey,
    stream: Stream,
    received: Received | None,
    *,
    everything: bool,
    limit: int,
) -> None:
    """Print the frames of a stream, the damaged ones alone unless ``everything`` is asked for."""
    if not stream.readable:
        return
    chosen = [frame for _number, frame in sorted(stream.frames.items()) if everything or frame.damaged]
    if not chosen:
        console.print("  every frame came whole, each packet once", markup=False)
        return
    fate_of = fates(received)
    table = _table(
        ">frame",
        "",
        ">blocks",
        ">data",
        ">recovery",
        ">lost",
        ">twice",
        ">surplus",
        ">at ms",
        ">took ms",
        "what FEC did",
    )
    for frame in chosen[:limit]:
        table.add_row(
            str(frame.number),
            "key" if frame.key else "",
            str(frame.blocks),
            f"{frame.data:,}/{frame.k:,}",
            f"{frame.recovery:,}/{frame.m:,}",
            _count(frame.lost),
            _count(frame.twice),
            _count(frame.surplus),
            milliseconds(frame.first_ns, survey.first_ns),
            f"{(frame.last_ns - frame.first_ns) / 1e6:.3f}",
            _styled(_fec(frame, fate_of.get(frame.number))),
        )
    console.print()
    console.print(table)
    if len(chosen) > limit:
        what = "frames" if everything else "damaged frames"
        console.print(f"… {len(chosen) - limit:,} more {what}: --limit", markup=False)


def _fec(frame: Frame, fate: str | None) -> str:
    """Return in words what FEC did for a frame, and what the receiver made of that."""
    unseen = frame.blocks - len(frame.found)
    if frame.whole:
        did = f"rebuilt {frame.rebuilt}" if frame.rebuilt else "not needed"
        return f"{did}, {fate}" if fate not in (None, "whole") else did
    parts = [f"{frame.short_of} shards short"] if frame.short_of else []
    if unseen:
        parts.append(f"{unseen} block{'s' * (unseen != 1)} unseen")
    return f"lost: {', '.join(parts)}"


def fates(received: Received | None) -> Mapping[int, str]:
    """Return what the core's receiver made of each frame, in a word."""
    if received is None:
        return {}
    index, status = received.records["index"], received.records["status"]
    wrapped = np.asarray(index) & 0xFFFF_FFFF
    return {int(n): _STATUS.get(int(s), "?") for n, s in zip(wrapped, status, strict=True)}


class Packets:
    """A table of datagrams that is filled while a capture is read; the first ``limit`` are kept, the others counted."""

    def __init__(self, limit: int) -> None:
        self.rows: list[Row] = []
        self.count = 0
        self._limit = limit

    def see(self, row: Row) -> None:
        """Take a datagram."""
        self.count += 1
        if len(self.rows) < self._limit:
            self.rows.append(row)

    def show(self, console: Console, first_ns: int) -> None:
        """Print them."""
        console.print()
        console.print(packet_table(self.rows, first_ns))
        if self.count > len(self.rows):
            console.print(f"… {self.count - len(self.rows):,} more packets: --limit", markup=False)
        elif not self.count:
            console.print("no packet is so", markup=False)


def packet_table(rows: Sequence[Row], first_ns: int, *, of_one_frame: bool = False) -> Table:
    """Return a table of datagrams, a line each; a column in which none has anything is left out."""
    columns = (">no", ">ms", ">stream", "what", ">number", ">frame", ">block", ">shard", ">bytes")
    lines = [_cells(row, first_ns) for row in rows]
    known = [any(line[at] for line in lines) for at in range(len(columns))]
    if of_one_frame:
        known[columns.index(">stream")] = known[columns.index(">frame")] = False
    shown = [at for at, is_known in enumerate(known) if is_known or not lines]
    table = _table(*(columns[at] for at in shown), "what became of it")
    for row, line in zip(rows, lines, strict=True):
        table.add_row(*(line[at] for at in shown), _styled(row.verdict))
    return table


def _cells(row: Row, first_ns: int) -> list[str]:
    video, shard = row.video, None if row.video is None else row.video.shard
    return [
        str(row.number),
        milliseconds(row.time_ns, first_ns),
        str(row.stream.number),
        row.what,
        "" if video is None or not video.bits else str(video.number),
        "" if video is None or video.frame is None else str(video.frame),
        "" if shard is None else f"{shard.block + 1}/{shard.blocks}",
        "" if shard is None else _shard(shard.index, shard.k, shard.m),
        str(row.size),
    ]


def second_opinion(console: Console, opinion: Opinion) -> None:
    """Print what a capture says of a case's ledger."""
    console.print()
    if opinion.counts:
        table = _table("second opinion", ">capture", ">ledger", "")
        for count in opinion.counts:
            said = Text("agrees", style="green") if count.agrees else Text("disagrees", style="bold red")
            table.add_row(count.what, f"{count.capture:,}", count.ledger, said)
        console.print(table)
    for reason in opinion.left_out:
        console.print(f"  not compared: {reason}", markup=False, highlight=False, soft_wrap=True)


def _shard(index: int, k: int, m: int) -> str:
    return f"{index}/{k}" if index < k else f"r{index - k}/{m}"


def _table(*columns: str) -> Table:
    """Return a table; a column that begins with ``>`` is set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right
        )
    return table


def _styled(verdict: str) -> Text:
    style = ""
    if verdict.startswith(("lost", "damaged", "rejected", "late", "cut", "malformed")):
        style = "red"
    elif verdict.startswith(("rebuilt", "makes", "twice", "surplus", "its block")):
        style = "cyan"
    return Text(verdict, style=style)


def _size(count: int) -> str:
    return (
        f"{count:,} B"
        if count < 10_000
        else f"{count / 1e3:,.0f} kB"
        if count < 10_000_000
        else f"{count / 1e6:,.1f} MB"
    )


def _count(count: int) -> str:
    return f"{count:,}" if count else "·"


def milliseconds(time_ns: int, first_ns: int) -> str:
    """Return a time as milliseconds since the first packet."""
    return f"{(time_ns - first_ns) / 1e6:.3f}"
