"""The command that takes a capture apart: its streams, its frames, its packets, and what it says of a case's ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from punktfunk.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from harness.dissect.keys import Keys
    from harness.dissect.reading import Row, Survey
    from harness.dissect.rebuild import FramePackets
    from harness.dissect.second_opinion import Opinion
    from harness.dissect.streams import Stream
    from punktfunk.rich_terminal import Console
    from punktfunk.units import Duration


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(dissect)


def dissect(
    capture: Annotated[
        Path,
        typer.Argument(
            metavar="CAPTURE", help="A .pcap or .pcapng file, or the folder of a case that has one."
        ),
    ],
    *,
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys", metavar="FILE", help="Key log (SSLKEYLOGFILE): opens QUIC, and what it names."
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="HEX[:SALT]", help="Key of a stream: the Welcome's, or GameStream's rikey."
        ),
    ] = None,
    stream: Annotated[
        int | None,
        typer.Option(min=1, help="Stream to look at, by its number; default: the largest of video."),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Show this frame, its packets and what FEC did.")
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="List all frames, not the damaged ones alone.")
    ] = False,
    packets: Annotated[bool, typer.Option("--packets", help="List the packets.")] = False,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            "-k",
            metavar="EXPR",
            help="List the packets for which it holds: 'frame == 42 and late'.",
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows of a table.")] = 20,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="CASE", help="Hold the capture against this case's ledger; default: the case it lies in."
        ),
    ] = None,
    ignore_checksums: Annotated[
        bool,
        typer.Option(
            "--ignore-checksums", help="Take wrong UDP checksums for right: a sender's own capture."
        ),
    ] = False,
    reorder_window: Annotated[
        str,
        typer.Option(
            "--reorder-window",
            metavar="TIME",
            help="How long the receiver whose rules are asked waits for a frame that others have overtaken; default: "
            "as the case it lies in says, else 20 ms.",
        ),
    ] = "",
    max_packets: Annotated[int, typer.Option(min=1, max=1 << 24, help="Read this many packets.")] = 1 << 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable: streams, frames, ledger.")
    ] = False,
) -> None:
    """Take a capture apart: streams, frames and what FEC did for them, packets. Exit 5 if it contradicts the ledger."""
    from harness.dissect import documents, show
    from harness.dissect.filters import compile_filter, values
    from harness.dissect.reading import Reading
    from harness.dissect.rebuild import FramePackets
    from harness.network.capture import CAPTURE_NAME
    from punktfunk.rich_terminal import Console
    from punktfunk.terminal import say_json

    path = capture / CAPTURE_NAME if capture.is_dir() else capture
    given = _keys(keys, key)
    holds = compile_filter(filter_) if filter_ else None
    reading = Reading(
        path,
        given,
        ignore_checksums=ignore_checksums,
        max_packets=max_packets,
        reorder_window_ns=_reorder_window_ns(reorder_window, path),
    )
    table, kept, first_ns = show.Packets(limit), None, None
    if frame is not None:
        chosen = _chosen(reading.read(), stream)
        kept = FramePackets(chosen.number, frame)

    def see(row: Row) -> None:
        nonlocal first_ns
        first_ns = row.time_ns if first_ns is None else first_ns
        if kept is not None:
            kept.see(row)
        elif (stream is None or row.stream.number == stream) and (
            holds is None or holds(values(row, first_ns))
        ):
            table.see(row)

    listed = packets or holds is not None
    survey = reading.read(see if listed or kept is not None else None)
    opinion = _opinion(survey, path, against)
    if as_json:
        say_json(documents.document(survey, opinion))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else show.WIDTH)
        if kept is not None:
            _show_frame(console, survey, _chosen(survey, stream), kept, limit)
        elif listed:
            table.show(console, first_ns or 0)
        else:
            show.overview(console, survey)
            show.said(console, survey)
            for each in [_chosen(survey, stream)] if stream is not None else survey.video[:_STREAMS_SHOWN]:
                received = survey.received.get(each.number)
                show.verdicts(console, each, received)
                show.frames(console, survey, each, received, everything=frames, limit=limit)
            if opinion is not None:
                show.second_opinion(console, opinion)
    if opinion is not None and opinion.disagreements:
        raise LedgerError(
            f"the capture contradicts the ledger: {opinion.check().measured}",
            "one of the two counts wrong; --packets and --frame show what the capture has",
        )


_LONGEST_WINDOW_NS = 60 * 10**9
_MAX_SPEC_BYTES = 1 << 20
_STREAMS_SHOWN = 4
"""Streams of video whose frames are listed, unless one is named."""


def _keys(files: list[Path] | None, named: list[str] | None) -> Keys:
    from harness.dissect.keys import Keys

    found = Keys()
    for file in files or ():
        found.read(file)
    for text in named or ():
        found.name(text)
    return found


def _reorder_window_ns(text: str, path: Path) -> int:
    """Return how long a receiver waits: as was asked for, as the case of a capture has it, or as usual."""
    from harness.dissect.receiver import REORDER_WINDOW_NS
    from punktfunk.units import Duration

    window = Duration.parse(text) if text else _reorder_window_of(path.with_name("spec.json"))
    if window is None:
        return REORDER_WINDOW_NS
    if window.ns > _LONGEST_WINDOW_NS:
        raise UsageError(f"no receiver waits {window}", "give at most 60 s; clients wait 20 ms")
    return window.ns


def _reorder_window_of(file: Path) -> Duration | None:
    """Return what the case of a folder says; None where there is none that says it, or no case."""
    import json

    from punktfunk.regular_file import read_regular
    from punktfunk.units import Duration

    try:
        said = json.loads(read_regular(file, _MAX_SPEC_BYTES))["spec"]["stream"]["reorder_window"]
        return Duration.parse(said) if isinstance(said, str) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # a text that is no time, too
        return None


def _chosen(survey: Survey, number: int | None) -> Stream:
    video = survey.video
    if number is None and video:
        return video[0]
    for stream in video:
        if stream.number == number:
            return stream
    which = "no stream of video" if number is None else f"no stream {number} of video"
    known = ", ".join(str(stream.number) for stream in video[:10])
    raise UsageError(
        f"the capture has {which}", f"it has: {known}" if known else "dissect CAPTURE shows what it has"
    )


def _show_frame(console: Console, survey: Survey, stream: Stream, kept: FramePackets, limit: int) -> None:
    from harness.dissect import show_frame

    found = stream.frames.get(kept.frame)
    if found is None:
        if not stream.readable:
            raise UsageError(
                f"no header of stream {stream.number} could be read",
                "give its key: --keys with a key log, or --key",
            )
        raise UsageError(
            f"no packet of frame {kept.frame} is in the capture",
            f"stream {stream.number} has frames {min(stream.frames)} to {max(stream.frames)}",
        )
    blocks = kept.blocks(stream)
    whole = kept.access_unit(stream, blocks)
    show_frame.one_frame(
        console, survey, stream, found, rows=kept.rows, blocks=blocks, access_unit=whole, limit=limit
    )


def _opinion(survey: Survey, path: Path, against: Path | None) -> Opinion | None:
    """Return what a capture says of a case: the one that was named, or the one whose folder it lies in."""
    from harness.dissect import second_opinion
    from harness.network.capture import CAPTURE_NAME

    beside = path.parent / second_opinion.CASE_NAME
    if against is None and not (path.name == CAPTURE_NAME and beside.is_file()):
        return None
    return second_opinion.opinion(survey, second_opinion.read_case(against or beside))
