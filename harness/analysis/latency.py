"""The latency probe: connect to a running host, watch for a while, say where a frame's time goes.

The figure from capture to picture needs no camera: a test card carries the time at which it was drawn in its own
pixels, and the client reads it back after decoding. On one machine both ends share CLOCK_MONOTONIC and the figure is
exact; across machines the host's clock is known from the control connection's rounds, and the bound of its error is
printed beside the figure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from harness.analysis import records, stages, stats
from harness.analysis.records import NULL, Records
from punktfunk.client.config import ClientConfig
from punktfunk.client.service import Client
from punktfunk.errors import HarnessError, ResultsError
from punktfunk.rich_terminal import Console

WARM_UP_FRAMES = 30
"""Frames left out at the start: the encoder's first key frame and cold caches are not what a stream feels like."""
_SAME_CLOCK_NS = 1_000_000_000
"""Monotonic clocks of two machines count from their boots: within a second of each other they are one clock."""
_BAR = 40


@dataclass(frozen=True, slots=True)
class Probe:
    """What a session showed."""

    table: Records
    """Joined frame records, ``captured_ns`` in this machine's CLOCK_MONOTONIC."""
    same_clock: bool
    clock_error_ns: int
    """Bound of the error of every span that begins at the host; 0 on one machine."""
    markers: int
    reason: str
    """How the session ended."""
    failed: bool = False
    """Whether that was no success: what is shown is then of the part before."""


async def probe(address: str, config: ClientConfig, host_records: Path | None = None) -> Probe:
    """Stream from ``address`` into ``config.artefacts`` until the session ends, and return what it showed.

    ``host_records`` is the folder that a host on the same machine records into; with it the host's own stages
    show. Raises what :class:`~punktfunk.client.service.Client` raises, and HarnessError when nothing came.
    """
    async with Client(address, config) as client:
        summary = await client.finished()
    if config.artefacts is None:
        raise HarnessError("a latency probe wants a folder for its records")
    return replace(read(config.artefacts, host_records, reason=summary.reason), failed=summary.failed)


def read(folder: Path, host_records: Path | None = None, *, reason: str = "") -> Probe:
    """Join what a client (and perhaps its host) left in folders; raise HarnessError when nothing was received."""
    host = records.load_npz(host_records / "records.npz") if host_records else None
    decoded = folder / "decoded.npz"
    table = records.join(
        host,
        records.load_npz(folder / "records.npz"),
        records.load_npz(decoded) if decoded.is_file() else None,
    )
    if not np.any(table["complete_ns"] != NULL):
        raise HarnessError(f"no frame came ({reason or 'no reason is known'})", "look at the host's log")
    try:
        said = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
        local, remote = said["clock"], said["host_clock"] or {"offset_ns": 0, "error_ns": 0}
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"the client's stats.json cannot be read: {error!r}") from error
    known = table["pts_ns"] != NULL
    by_local_clock = table["pts_ns"] - local["offset_ns"]
    read_back = known & (table["strip_time_us"] != NULL)
    apart = np.abs(by_local_clock - table["strip_time_us"] * 1000)[read_back]
    same = bool(apart.size and np.median(apart) < _SAME_CLOCK_NS)
    if host is None:
        captured = by_local_clock - (0 if same else remote["offset_ns"])
        table["captured_ns"] = np.where(known, captured, NULL)
    if not same:
        # The time in the pixels is of the host's clock, which only the stamp beside it can translate.
        table["strip_time_us"] = np.where(read_back, table["captured_ns"] // 1000, NULL)
    first = int(table["index"].min()) if table["index"].size else 0
    late = table["index"] >= first + WARM_UP_FRAMES
    if late.sum() > WARM_UP_FRAMES:
        table = {name: column[late] for name, column in table.items()}
    return Probe(table, same, 0 if same else int(remote["error_ns"]), int(read_back.sum()), reason)


def show(console: Console, found: Probe) -> None:
    """Print the waterfall of stages and the figure from capture to decoded picture."""
    split = stages.split(found.table)
    if split:
        _waterfall(console, split)
    whole = stages.marker_latency_ms(found.table) if found.markers else np.empty(0)
    if whole.size:
        what = "glass to glass without camera (time in the pixels to decoded picture)"
    else:
        whole = stages.durations_ms(found.table, stages.BY_NAME["capture_to_decoded"])
        what = "capture to decoded picture (no readable frame marker: by the stamp of the stream)"
    if whole.size:
        p50, p99 = _ms(stats.percentile(whole, 0.5)), _ms(stats.percentile(whole, 0.99))
        interval = stats.percentile_interval(whole, 0.5)
        spread = f" ({interval[0]:.2f} … {interval[1]:.2f})" if interval else ""
        console.print(f"{what}:", markup=False)
        console.print(f"  p50 {p50}{spread}, p99 {p99} over {whole.size} pictures", markup=False)
    clock = (
        "both ends share one clock: exact"
        if found.same_clock
        else f"two clocks: a figure that begins at the host is within ± {found.clock_error_ns / 1e6:.3f} ms"
    )
    console.print(f"  {clock}", markup=False)


def _waterfall(console: Console, split: dict[str, stages.FloatArray]) -> None:
    medians = {name: stats.percentile(values, 0.5) or 0.0 for name, values in split.items()}
    total = max(sum(medians.values()), 1e-9)
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "p50 ms", "p99 ms", ""):
        table.add_column(name, justify="right" if "ms" in name else "left")
    done = 0.0
    for name, values in split.items():
        start, width = round(done / total * _BAR), max(1, round(medians[name] / total * _BAR))
        done += medians[name]
        p99 = stats.percentile(values, 0.99)
        shown = "host and network" if name == "network" and next(iter(split)) == "network" else name
        table.add_row(
            shown, f"{medians[name]:.3f}", "·" if p99 is None else f"{p99:.3f}", " " * start + "█" * width
        )
    table.add_row("sum of medians", f"{total:.3f}", "", "")
    console.print(table)


def _ms(value: float | None) -> str:
    return "not measured (too few pictures)" if value is None else f"{value:.2f} ms"
