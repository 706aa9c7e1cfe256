"""Every figure that a case can report: name, unit, which way is better, and how it comes from the records.

:data:`METRICS` is the table that scenarios, reports, baselines and the reference page share. A figure that
could not be measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis import recovery, stages, stats
from harness.analysis.definitions import FREEZE, KEY_WAIT, METRICS, PERCENTILES, QUANTILES, STRIP, Definition
from harness.analysis.ledger import balances, rejected
from harness.analysis.records import NULL, Records, concatenate
from harness.analysis.results import Metric

__all__ = ["METRICS", "Definition", "balances", "case_metrics", "quantile_curves", "timeline"]

Counters: TypeAlias = Mapping[str, Mapping[str, int]]
FloatArray: TypeAlias = NDArray[np.float64]


def case_metrics(
    records: Records | Sequence[Records],
    counters: Counters,
    *,
    frames: Mapping[str, int] | None = None,
    first_index: int = 0,
) -> dict[str, Metric]:
    """Return every figure of :data:`METRICS` for one case.

    ``records`` is a joined table (``harness.analysis.records.join``), or one a seed when a case pools several.
    ``counters`` holds any of ``host``, ``client`` and ``link`` (host to client). ``frames`` is a simulation's
    comparison of the bytes (``intact``, ``corrupt``). ``first_index`` is what the wire calls a stream's first frame.
    """
    tables = [records] if isinstance(records, dict) else list(records)
    rows = concatenate(tables)
    found: dict[str, Metric] = {}
    for group in (
        _frame_metrics(tables, rows, counters, frames or {}),
        _packet_metrics(tables, rows, counters),
        _cost_metrics(counters),
        _picture_metrics(rows, first_index),
        _latency_metrics(rows, tables),
    ):
        found |= group
    return {name: found.get(name) or _metric(name, None) for name in METRICS}


def _metric(
    name: str, value: float | None, interval: stats.Interval | None = None, n: int | None = None
) -> Metric:
    row = METRICS[name]
    return Metric(
        value=None if value is None else float(value),
        unit=row.unit,
        better=row.better,
        interval=interval,
        n=n,
    )


# --- frames -------------------------------------------------------------------------------------------------


def _frame_metrics(
    tables: Sequence[Records], rows: Records, counters: Counters, frames: Mapping[str, int]
) -> dict[str, Metric]:
    host, client = counters.get("host"), counters.get("client")
    submitted = host.get("frames_submitted") if host else None
    dropped = host.get("frames_queue_dropped") if host else None
    complete = client.get("frames_complete") if client else None
    undecodable = client.get("frames_undecodable") if client else None
    counts: dict[str, int | None] = {
        "frames_submitted": submitted,
        "frames_queue_dropped": dropped,
        "frames_complete": complete,
        "frames_undecodable": undecodable,
        "frames_unrecoverable": client.get("frames_unrecoverable") if client else None,
        "frames_expired": client.get("frames_expired") if client else None,
        "frames_decoder_late": client.get("frames_queue_dropped") if client else None,
        "frames_intact": frames.get("intact"),
        "frames_corrupt": frames.get("corrupt"),
        "frames_lost": None if submitted is None or complete is None else submitted - complete,
    }
    found: dict[str, Metric] = {}
    if client:
        lost = (rows["client_status"] == 1) & (rows["host_status"] != 1)
        whole = rows["client_status"] == 0
        damaged = (rows["data_missing"] > 0) | lost
        found["fec_success"] = _share("fec_success", [whole[damaged]])
        found["undecodable"] = _share("undecodable", [(rows["decodable"] == 0)[whole]])
        if submitted == rows["index"].size:  # counts, unlike shares, want every frame in the records
            counts["frames_damaged"] = int(damaged.sum())
            counts["frames_recovered"] = int((whole & (rows["recovered"] > 0)).sum())
        if np.any(rows["decode_end_ns"] != NULL):
            counts["frames_decoded"] = int((rows["decode_end_ns"] != NULL).sum())
    if submitted is not None and complete is not None:
        sent = [(t["client_status"] == 0)[t["host_status"] != 1] for t in tables]
        found["recovery"] = _share("recovery", sent, (complete, submitted - (dropped or 0)))
        decodable = client.get("frames_decodable", 0) if client else 0
        found["decodable"] = _share("decodable", [_shown(t) for t in tables], (decodable, submitted))
    return found | {name: _metric(name, count) for name, count in counts.items()}


def _share(name: str, series: Sequence[NDArray[np.bool_]], counted: tuple[int, int] | None = None) -> Metric:
    """A proportion over frames in the order of time; the interval counts correlated frames as fewer.

    ``counted`` are hits and trials where counters know more frames than the records kept.
    """
    n = sum(s.size for s in series)
    hits, trials = counted or (sum(int(s.sum()) for s in series), n)
    if trials <= 0:
        return _metric(name, None, n=0)
    independent = sum(s.size / stats.correlation_time(s) for s in series) / n if n else 1.0
    effective = trials * independent
    return _metric(name, hits / trials, stats.wilson(hits / trials * effective, effective), trials)


def _shown(records: Records) -> NDArray[np.bool_]:
    shown: NDArray[np.bool_] = (records["client_status"] == 0) & (records["decodable"] == 1)
    return shown


def _freezes_ms(records: Records) -> FloatArray:
    """Return how long the picture stood still after each run of frames that could not be shown, in ms.

    A run at the end of the stream, which nothing ended, is left out.
    """
    shown = _shown(records)
    starts = np.flatnonzero(~shown & np.concatenate(([True], shown[:-1]))) if shown.size else np.empty(0, int)
    begin = records["captured_ns"] if np.any(records["captured_ns"] != NULL) else records["sealed_ns"]
    good = np.flatnonzero(shown)
    following = np.searchsorted(good, starts)
    ended = following < good.size
    first, after = starts[ended], good[following[ended]]
    known = (begin[first] != NULL) & (records["complete_ns"][after] != NULL)
    result: FloatArray = (records["complete_ns"][after[known]] - begin[first[known]]) / 1e6
    return result


# --- packets and cost ---------------------------------------------------------------------------------------


def _packet_metrics(tables: Sequence[Records], rows: Records, counters: Counters) -> dict[str, Metric]:
    host, client, link = counters.get("host"), counters.get("client"), counters.get("link")
    found: dict[str, Metric] = {}
    if host:
        found["packets_sent"] = _metric("packets_sent", host.get("packets_sent"))
    if client:
        for name in ("packets_lost", "packets_reordered", "packets_late"):
            found[name] = _metric(name, client.get(name))
        found["packets_duplicate"] = _metric(
            "packets_duplicate", client.get("packets_duplicate", 0) + client.get("rejected_replay", 0)
        )
        found["packets_rejected"] = _metric("packets_rejected", rejected(client))
        found["packets_kernel_dropped"] = _metric("packets_kernel_dropped", client.get("kernel_dropped"))
    offered, lost = _transport(counters)
    if offered and lost is not None:
        effective = offered / _loss_clustering(tables, lost / offered)
        found["transport_loss"] = _metric(
            "transport_loss", lost / offered, stats.wilson(lost / offered * effective, effective), offered
        )
    data = int(rows["k"][rows["k"] > 0].sum())
    if data:
        found["fec_overhead"] = _metric("fec_overhead", int(rows["m"][rows["m"] > 0].sum()) / data)
        shares = [table["m"][table["k"] > 0] / table["k"][table["k"] > 0] for table in tables]
        shares = [share for share in shares if len(share)]
        found["fec_overhead_max"] = _metric("fec_overhead_max", max(share.max() for share in shares))
        found["fec_overhead_last"] = _metric("fec_overhead_last", max(share[-1] for share in shares))
    seconds = sum(_seconds(table) for table in tables)
    if seconds > 0:
        whole = (rows["client_status"] == 0) & (rows["bytes"] != NULL)
        if client:
            found["goodput"] = _metric("goodput", int(rows["bytes"][whole].sum()) * 8e-6 / seconds)
        if host and "bytes_sent" in host:
            found["wire_rate"] = _metric("wire_rate", host["bytes_sent"] * 8e-6 / seconds)
    if link and "queue_max_ns" in link:
        found["queue_wait_max"] = _metric("queue_wait_max", link["queue_max_ns"] / 1e6)
    return found


def _transport(counters: Counters) -> tuple[int, int | None]:
    """Return packets offered to the link and lost on it: the link's own count where it has one."""
    link, host, client = counters.get("link"), counters.get("host"), counters.get("client")
    if link and "link_in" in link and "dropped_total" in link:
        return link["link_in"], link["dropped_total"] + link.get("checksum_dropped", 0)
    if host and client and "packets_sent" in host and "packets_lost" in client:
        return host["packets_sent"], client["packets_lost"]
    return 0, None


def _loss_clustering(tables: Sequence[Records], loss: float) -> float:
    """Return the variance of lost packets over the binomial one, >= 1, judged frame by frame."""
    squares, expected, packets = 0.0, 0.0, 0
    for table in tables:
        known = (table["packets_sent"] > 0) & (table["packets_received"] != NULL)
        sent = table["packets_sent"][known].astype(np.float64)
        if sent.size < 8:
            continue
        off = sent - table["packets_received"][known] - loss * sent
        squares += float(off @ off) * stats.correlation_time(off)
        expected += float(sent.sum()) * loss * (1 - loss)
        packets += int(sent.sum())
    return max(1.0, squares / expected) if expected > 0 else 1.0


def _seconds(records: Records) -> float:
    """Return a stream's time: first to last capture plus one frame, so that n frames last n intervals."""
    begin = records["captured_ns"] if np.any(records["captured_ns"] != NULL) else records["sealed_ns"]
    begin = begin[begin != NULL]
    return float(np.ptp(begin)) * 1e-9 * begin.size / (begin.size - 1) if begin.size > 1 else 0.0


def _cost_metrics(counters: Counters) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for side, packets, name in (
        ("host", "packets_sent", "send_cpu_per_packet"),
        ("client", "packets_received", "receive_cpu_per_packet"),
    ):
        counts = counters.get(side, {})
        if counts.get("cpu_ns") and counts.get(packets):
            found[name] = _metric(name, counts["cpu_ns"] / counts[packets] / 1e3, n=counts[packets])
    peak = counters.get("client", {}).get("memory_peak_bytes")
    found["memory_peak"] = _metric("memory_peak", None if peak is None else peak / 2**20)
    return found


# --- picture and latency ------------------------------------------------------------------------------------


def _picture_metrics(rows: Records, first_index: int) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    decoded = rows["decode_end_ns"] != NULL
    read = decoded & (rows["strip_frame"] != NULL)
    if read.any():  # otherwise this is no test card, or nothing of it could be read: either way no agreement
        found["strip_readable"] = _share("strip_readable", [read[decoded]])
        found["strip_agreement"] = _share(
            "strip_agreement", [(rows["strip_frame"] == rows["index"] - first_index)[read]]
        )
        stamped = read & (rows["captured_ns"] != NULL) & (rows["strip_time_us"] != NULL)
        if stamped.any():
            error = np.abs(rows["strip_time_us"][stamped] * 1000 - rows["captured_ns"][stamped]) / 1e6
            found["strip_time_error_max"] = _metric("strip_time_error_max", error.max(), n=error.size)
    for name in ("psnr", "ssim"):
        values = rows[name][~np.isnan(rows[name])]
        if values.size:
            found[f"{name}_mean"] = _metric(
                f"{name}_mean",
                values.mean(),
                stats.bootstrap_interval(values, lambda x: x.mean(axis=1), seed=1, resamples=500),
                values.size,
            )
            found[f"{name}_p5"] = _metric(f"{name}_p5", stats.percentile(values, 0.05), n=values.size)
    return found


def _latency_metrics(rows: Records, tables: Sequence[Records]) -> dict[str, Metric]:
    samples = {span.name: stages.durations_ms(rows, span) for span in stages.SPANS}
    samples[STRIP] = stages.marker_latency_ms(rows)
    if tables:
        samples[FREEZE] = np.concatenate([_freezes_ms(table) for table in tables])
        waits = [recovery.key_frame_waits_ms(table) for table in tables]
        samples[KEY_WAIT] = np.concatenate([wait[~np.isnan(wait)] for wait in waits])
    found: dict[str, Metric] = {}
    for name, values in samples.items():
        if values.size:
            for label, q in PERCENTILES:
                key = f"{name}_{label}"
                found[key] = _metric(
                    key, stats.percentile(values, q), stats.percentile_interval(values, q), values.size
                )
    return found


def quantile_curves(records: Records) -> dict[str, list[float]]:
    """Return the distribution of each measured span at :data:`QUANTILES`, in ms rounded to the ns."""
    curves: dict[str, list[float]] = {}
    samples: dict[str, Any] = {
        name: stages.durations_ms(records, stages.BY_NAME[name])
        for name in ("transport", "sealed_to_complete", "capture_to_decoded", "glass_to_glass")
    }
    samples[STRIP] = stages.marker_latency_ms(records)
    for name, values in samples.items():
        if values.size:
            ordered = np.sort(values)
            ranks = [
                min(values.size - 1, max(0, int(np.ceil(q * values.size - 1e-9)) - 1)) for q in QUANTILES
            ]
            curves[name] = [round(float(ordered[rank]), 6) for rank in ranks]
    return curves


def timeline(records: Records, bins: int = 120) -> dict[str, list[float | None]]:
    """Return small series over the stream's time for the report; None where nothing is known.

    ``t_s`` (start of the bin), ``loss`` (share of packets lost), ``frames_lost``, ``queue_ms`` (longest wait
    in the sender's queue), ``network_ms`` (median one-way delay), ``transport_ms`` (99th percentile or
    largest) and ``bitrate_kbps`` (of complete frames).
    """
    begin = records["captured_ns"] if np.any(records["captured_ns"] != NULL) else records["sealed_ns"]
    known = begin != NULL
    if known.sum() < 2:
        return {}
    time = begin[known] - begin[known].min()
    bins = max(1, min(bins, int(known.sum()) // 2))
    width = (int(time.max()) + 1) / bins
    which = np.minimum((time / width).astype(np.int64), bins - 1)
    rows = {name: column[known] for name, column in records.items()}
    series: dict[str, list[float | None]] = {
        name: []
        for name in ("t_s", "loss", "frames_lost", "queue_ms", "network_ms", "transport_ms", "bitrate_kbps")
    }
    for n in range(bins):
        part = {name: column[which == n] for name, column in rows.items()}
        sent = (part["packets_sent"] > 0) & (part["packets_received"] != NULL)
        packets = int(part["packets_sent"][sent].sum())
        whole = part["client_status"] == 0
        queue, network, transport = (
            stages.durations_ms(part, stages.BY_NAME[name]) for name in ("queue", "network", "transport")
        )
        series["t_s"].append(round(n * width * 1e-9, 4))
        received = int(part["packets_received"][sent].sum())
        series["loss"].append(round(max(0.0, 1 - received / packets), 6) if packets else None)
        series["frames_lost"].append(float(np.count_nonzero(~whole)))
        series["queue_ms"].append(_rounded(queue, 1.0))
        series["network_ms"].append(_rounded(network, 0.5))
        series["transport_ms"].append(_rounded(transport, 0.99))
        series["bitrate_kbps"].append(round(float(part["bytes"][whole].sum()) * 8e6 / width, 1))
    return series


def _rounded(values: FloatArray, q: float) -> float | None:
    return round(float(np.quantile(values, q, method="inverted_cdf")), 4) if values.size else None
