"""Records, ledger and metrics: known streams give known figures, what was not measured is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import ledger, metrics, records, recovery, stages, theory
from harness.analysis.definitions import METRICS, QUANTILES
from punktfunk.errors import ResultsError

MS = 1_000_000


def table(rows: list[dict[str, int]]) -> records.Records:
    """A joined table of the given rows; everything else is null."""
    made = records.empty(len(rows))
    for n, row in enumerate(rows):
        for name, value in row.items():
            made[name][n] = value
    return made


def values(found: dict[str, Any]) -> dict[str, float]:
    return {name: metric.value for name, metric in found.items() if metric.value is not None}


# --- records ------------------------------------------------------------------------------------------------


def as_core(**columns: list[int]) -> dict[str, bytes]:
    return {name: np.array(column, dtype="<i8").tobytes() for name, column in columns.items()}


def test_both_ends_are_joined_on_the_frame_index_and_the_host_has_the_last_word() -> None:
    host = as_core(index=[2, 0, 1], bytes=[30, 10, 20], status=[0, 0, 1], sealed_ns=[7, 5, -1])
    client = as_core(index=[2, 0], bytes=[31, -1], status=[1, 0], complete_ns=[-1, 9])
    joined = records.join(host, client)
    assert joined["index"].tolist() == [0, 1, 2]
    assert joined["bytes"].tolist() == [10, 20, 30]
    assert joined["host_status"].tolist() == [0, 1, 0]
    assert joined["client_status"].tolist() == [0, -1, 1]
    assert joined["complete_ns"].tolist() == [9, -1, -1]
    assert set(joined) == set(records.COLUMNS)


def test_a_frame_only_the_client_knows_is_kept_with_its_own_word_for_the_size() -> None:
    joined = records.join(as_core(index=[0], bytes=[10]), as_core(index=[0, 5], bytes=[10, 55]))
    assert joined["bytes"].tolist() == [10, 55]
    assert joined["host_status"].tolist() == [-1, -1]


def test_a_frame_recorded_twice_by_one_side_is_an_error() -> None:
    with pytest.raises(ResultsError, match="client's records hold a frame twice"):
        records.join(None, as_core(index=[1, 1]))
    with pytest.raises(ResultsError, match="differ in length"):
        records.from_core(as_core(index=[1], bytes=[1, 2]))


def test_records_survive_parquet_with_nulls_metadata_and_quality(tmp_path: Path) -> None:
    made = table([{"index": 0, "sealed_ns": 5 * 10**18}, {"index": 1}])
    made["psnr"][:] = [41.5, np.nan]
    path = tmp_path / "frames.parquet"
    records.write(path, made, {"case": "ü"})
    back, metadata = records.read(path)
    assert metadata == {"case": "ü"}
    for name in records.COLUMNS:
        np.testing.assert_array_equal(back[name], made[name])
    import pyarrow.parquet as pq

    assert pq.read_table(path).column("sealed_ns").to_pylist() == [5 * 10**18, None]
    assert not list(tmp_path.glob("*.part"))


def test_records_of_a_later_version_or_no_records_at_all_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "frames.parquet"
    with monkeypatch.context() as later:
        later.setattr(records, "SCHEMA_VERSION", 99)
        records.write(path, table([{"index": 0}]))
    with pytest.raises(ResultsError, match="schema version 99"):
        records.read(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ResultsError, match="cannot be read"):
        records.read(path)
    with pytest.raises(ResultsError, match="could not be written"):
        records.write(tmp_path / "missing" / "frames.parquet", table([{"index": 0}]))


def test_a_column_that_an_older_version_lacked_reads_as_null(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    records.write(path, {"index": np.array([3, 4])})
    back, _ = records.read(path)
    assert back["index"].tolist() == [3, 4]
    assert back["presented_ns"].tolist() == [-1, -1]


def test_a_worker_s_npz_that_was_cut_short_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "records.npz"
    np.savez(path, index=np.arange(3), decode_end_ns=np.arange(3))
    assert records.load_npz(path)["decode_end_ns"].tolist() == [0, 1, 2]
    for damaged in (path.read_bytes()[:40], b""):
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match="cannot be read"):
            records.load_npz(path)


# --- stages -------------------------------------------------------------------------------------------------


def test_stages_of_a_frame_add_up_to_its_whole_way_also_where_a_stamp_is_missing(one_stream: Any) -> None:
    run = one_stream(3, loss=theory.Independent(0.1), decoded=True)
    parts = stages.split(run.table)
    whole = stages.durations_ms(run.table, stages.BY_NAME["capture_to_decoded"])
    assert set(parts) == {
        "encode_wait",
        "encode",
        "seal",
        "queue",
        "network",
        "assembly",
        "release",
        "decode",
    }
    np.testing.assert_allclose(sum(parts.values()), whole)


def test_the_picture_s_own_clock_gives_the_same_latency_as_the_stamps(one_stream: Any) -> None:
    run = one_stream(3, decoded=True)
    by_stamp = stages.durations_ms(run.table, stages.BY_NAME["capture_to_decoded"])
    np.testing.assert_allclose(stages.marker_latency_ms(run.table), by_stamp, atol=1e-3)


# --- ledger -------------------------------------------------------------------------------------------------


def test_a_lossy_stream_balances(one_stream: Any) -> None:
    run = one_stream(1, loss=theory.bursty(0.1, 5))
    found = ledger.balances(run.counters["host"], run.counters["link"], run.counters["client"])
    assert found.balanced
    assert len(found.balances) == 8
    assert found.counts["dropped_loss"] > 0


@pytest.mark.parametrize(
    ("side", "counter", "equation"),
    [
        ("host", "packets_sent", "sealed = sent + dropped + queued"),
        ("link", "link_in", "sent = link in + device dropped"),
        ("link", "dropped_total", "link in + duplicated = dropped + delivered + in flight"),
        ("client", "packets_received", "delivered = received + kernel dropped + checksum dropped"),
        ("client", "packets_used", "received = used + late + duplicate + rejected"),
        ("client", "data_shards_recovered", "data shards missing = recovered + unrecoverable"),
        ("client", "frames_decodable", "complete = decodable + undecodable"),
        ("client", "frames_unrecoverable", "submitted = complete + unrecoverable + expired + unknown"),
    ],
)
def test_one_packet_or_frame_unaccounted_for_unbalances_its_equation(
    one_stream: Any, side: str, counter: str, equation: str
) -> None:
    counters = one_stream(1, loss=theory.Independent(0.1)).counters
    counters[side][counter] += 1
    found = ledger.balances(counters["host"], counters["link"], counters["client"])
    assert abs(found.balances[equation]) == 1


def test_rejections_count_whatever_their_reason_and_unknown_sides_leave_their_equations_out() -> None:
    client = {"packets_received": 10, "packets_used": 6, "rejected_auth": 3, "rejected_new_reason": 1}
    assert ledger.balances(client=client).balances["received = used + late + duplicate + rejected"] == 0
    assert set(ledger.balances(host={"packets_sealed": 1, "packets_sent": 1}).balances) == {
        "sealed = sent + dropped + queued"
    }


def test_names_that_two_sides_share_are_told_apart() -> None:
    found = ledger.balances(host={"cpu_ns": 1}, client={"cpu_ns": 2, "packets_used": 0})
    assert found.counts == {"host_cpu_ns": 1, "client_cpu_ns": 2, "packets_used": 0}


def test_frames_at_the_end_that_the_client_never_heard_of_are_counted_as_unknown() -> None:
    heard = table(
        [
            {"index": 0, "host_status": 0, "client_status": 0},
            {"index": 1, "host_status": 0},
            {"index": 2, "host_status": 0, "client_status": 1},
            {"index": 3, "host_status": 0},
        ]
    )
    assert ledger.unknown_frames(heard) == 1
    assert ledger.unknown_frames(table([{"index": 0, "host_status": 0}])) == 1


def test_counters_of_seeds_add_up_but_peaks_and_settings_do_not() -> None:
    total = ledger.add(
        {"packets_sent": 2, "memory_peak_bytes": 5, "realtime": 1, "slice_ns": 7},
        {"packets_sent": 3, "memory_peak_bytes": 4, "gso": 1, "realtime": 1, "slice_ns": 7},
    )
    assert total == {"packets_sent": 5, "memory_peak_bytes": 5, "gso": 1, "realtime": 1, "slice_ns": 7}


# --- metrics ------------------------------------------------------------------------------------------------


def test_every_figure_is_in_the_table_and_every_row_of_the_table_is_a_figure(one_stream: Any) -> None:
    run = one_stream(1, decoded=True)
    found = metrics.case_metrics(run.table, run.counters)
    assert list(found) == list(METRICS)
    for name, metric in found.items():
        assert (metric.unit, metric.better) == (METRICS[name].unit, METRICS[name].better)


def test_what_was_not_measured_is_none_and_never_zero() -> None:
    found = metrics.case_metrics(records.empty(0), {})
    assert all(metric.value is None for metric in found.values())
    headless = metrics.case_metrics(table([{"index": 0, "captured_ns": 1, "complete_ns": 2 * MS}] * 4), {})
    assert headless["transport_p50"].value is not None
    assert headless["transport_p99"].value is None  # four frames have no 99th percentile
    assert headless["glass_to_glass_p50"].value is None
    assert headless["strip_agreement"].value is None
    assert headless["send_cpu_per_packet"].value is None


def test_a_stream_worked_by_hand_gives_the_figures_worked_by_hand() -> None:
    """Four frames at 60 fps: whole, recovered, lost, whole but its reference is missing, then a good one."""
    base = {"bytes": 2400, "k": 2, "m": 1, "packets_sent": 3, "host_status": 0}
    frame = 16 * MS
    rows = [
        {"packets_received": 3, "data_missing": 0, "recovered": 0, "client_status": 0, "decodable": 1},
        {"packets_received": 2, "data_missing": 1, "recovered": 1, "client_status": 0, "decodable": 1},
        {"packets_received": 1, "data_missing": 1, "recovered": 0, "client_status": 1, "decodable": 0},
        {"packets_received": 3, "data_missing": 0, "recovered": 0, "client_status": 0, "decodable": 0},
        {"packets_received": 3, "data_missing": 0, "recovered": 0, "client_status": 0, "decodable": 1},
    ]
    made = table(
        [
            base
            | row
            | {"index": n, "captured_ns": n * frame, "sealed_ns": n * frame + MS}
            | ({"complete_ns": n * frame + 4 * MS} if row["client_status"] == 0 else {})
            for n, row in enumerate(rows)
        ]
    )
    counters = {
        "host": {"frames_submitted": 5, "frames_queue_dropped": 0, "packets_sent": 15, "cpu_ns": 30_000},
        "client": {
            "frames_complete": 4,
            "frames_decodable": 3,
            "frames_undecodable": 1,
            "frames_unrecoverable": 1,
            "packets_received": 12,
            "packets_lost": 3,
        },
    }
    got = values(metrics.case_metrics(made, counters))
    assert got["recovery"] == 0.8
    assert got["frames_damaged"] == 2
    assert got["frames_recovered"] == 1
    assert got["fec_success"] == 0.5
    assert got["decodable"] == 0.6
    assert got["undecodable"] == 0.25
    assert got["frames_lost"] == 1
    assert got["transport_loss"] == 0.2
    assert got["fec_overhead"] == 0.5
    assert got["transport_p50"] == 4.0
    assert got["sealed_to_complete_p50"] == 3.0
    assert (
        got["recovery_time_max"] == 2 * 16 + 4
    )  # from the lost frame's capture to the good one's completion
    assert got["send_cpu_per_packet"] == 2.0
    assert got["goodput"] == pytest.approx(4 * 2400 * 8 / (5 * 0.016) / 1e6)


def test_a_lost_frame_waits_for_the_next_key_frame_of_the_host() -> None:
    key, other = 0x05, 0x01
    sent = [
        # flags, client's status (None: it never heard of it), sealed at
        (key, 0, 0),
        (other, 1, 16),
        (other, 2, 32),
        (key, 1, 48),
        (other, 0, 64),
        (key, 0, 90),
        (other, None, 100),
        (other, 1, 110),
    ]
    rows = [
        {"index": n, "host_status": 0, "flags": flags, "sealed_ns": at * MS}
        | ({} if status is None else {"client_status": status})
        for n, (flags, status, at) in enumerate(sent)
    ]
    # One that the sender dropped was never on its way, and a key frame that was dropped answers nothing.
    rows += [{"index": 8, "host_status": 1, "flags": key, "client_status": 1, "sealed_ns": 120 * MS}]
    waits = recovery.key_frame_waits_ms(table(rows))
    assert waits.tolist()[:3] == [32, 16, 42]
    assert np.isnan(waits[3:]).tolist() == [True]
    assert recovery.key_frame_waits_ms(table(rows), of=np.arange(len(rows)) != 3).tolist()[:2] == [32, 16]
    assert recovery.key_frame_waits_ms(table(rows), of=np.arange(len(rows)) < 7).tolist() == [32, 16, 42]
    found = metrics.case_metrics([table(rows), table(rows)], {})
    assert (found["key_frame_wait_max"].value, found["key_frame_wait_max"].n) == (42, 6)
    assert (
        metrics.case_metrics(table([{"index": 1, "client_status": 1}]), {})["key_frame_wait_max"].value
        is None
    )


def test_frames_dropped_in_the_sender_s_queue_are_not_held_against_recovery() -> None:
    made = table(
        [
            {"index": 0, "host_status": 0, "client_status": 0, "decodable": 1},
            {"index": 1, "host_status": 1, "client_status": 1, "decodable": 0},
        ]
    )
    counters = {
        "host": {"frames_submitted": 2, "frames_queue_dropped": 1},
        "client": {"frames_complete": 1, "frames_decodable": 1},
    }
    found = metrics.case_metrics(made, counters)
    assert found["recovery"].value == 1.0
    assert found["decodable"].value == 0.5
    assert found["frames_damaged"].value == 0


def test_a_strip_that_names_another_frame_lowers_the_agreement() -> None:
    rows = [
        {"index": n, "decode_end_ns": 5, "strip_frame": n, "strip_time_us": 7, "captured_ns": 7000}
        for n in range(9)
    ]
    rows.append(
        {"index": 9, "decode_end_ns": 5, "strip_frame": 8, "strip_time_us": 9, "captured_ns": 2_007_000}
    )
    rows.append({"index": 10, "decode_end_ns": 5})
    found = metrics.case_metrics(table(rows), {})
    assert found["strip_agreement"].value == 0.9
    assert found["strip_readable"].value == pytest.approx(10 / 11)
    assert found["strip_time_error_max"].value == pytest.approx(1.998)


def test_markers_count_from_nothing_on_a_wire_whose_frames_count_from_one() -> None:
    rows = table([{"index": n + 1, "decode_end_ns": 5, "strip_frame": n} for n in range(4)])
    agreement = [
        metrics.case_metrics(rows, {}, first_index=first)["strip_agreement"].value for first in (0, 1)
    ]
    assert agreement == [0, 1]


def test_bursts_widen_the_interval_of_the_loss_and_cover_the_truth(one_stream: Any) -> None:
    widths = []
    for loss in (theory.Independent(0.1), theory.bursty(0.1, 30)):
        covered = 0
        width = 0.0
        for seed in range(40):
            run = one_stream(seed, frames=300, loss=loss)
            metric = metrics.case_metrics(run.table, run.counters)["transport_loss"]
            assert metric.interval is not None
            covered += metric.interval[0] <= 0.1 <= metric.interval[1]
            width += metric.interval[1] - metric.interval[0]
        assert covered >= 34
        widths.append(width)
    assert widths[1] > 4 * widths[0]


def test_seeds_pool_into_one_case_without_mixing_their_clocks(one_stream: Any) -> None:
    runs = [one_stream(seed, loss=theory.Independent(0.2)) for seed in range(4)]
    counters: dict[str, dict[str, int]] = {"host": {}, "client": {}}
    for run in runs:
        counters = {side: ledger.add(counters[side], run.counters[side]) for side in counters}
    pooled = metrics.case_metrics([run.table for run in runs], counters)
    alone = [metrics.case_metrics(run.table, run.counters) for run in runs]
    assert pooled["goodput"].value == pytest.approx(np.mean([m["goodput"].value for m in alone]))
    assert pooled["recovery"].value == pytest.approx(np.mean([m["recovery"].value for m in alone]))
    assert pooled["recovery_time_max"].value == max(m["recovery_time_max"].value for m in alone)


def test_the_timeline_finds_the_second_in_which_packets_were_lost(one_stream: Any) -> None:
    run = one_stream(1, frames=600)
    run.table["packets_received"][300:360] -= 3
    series = metrics.timeline(run.table, bins=10)
    assert len({len(column) for column in series.values()}) == 1
    assert np.argmax(series["loss"]) == 5
    assert series["loss"][0] == 0.0
    assert metrics.timeline(records.empty(5)) == {}


def test_quantile_curves_are_order_statistics_on_the_common_grid(one_stream: Any) -> None:
    run = one_stream(1, frames=1000)
    curve = metrics.quantile_curves(run.table)["transport"]
    found = metrics.case_metrics(run.table, run.counters)
    assert len(curve) == len(QUANTILES)
    assert curve[QUANTILES.index(0.5)] == pytest.approx(found["transport_p50"].value)
    assert curve[-1] == pytest.approx(found["transport_max"].value)


def test_what_fails_its_checksum_is_not_taken_for_an_overflow() -> None:
    client = {"packets_received": 90, "kernel_dropped": 10}
    link = {"delivered": 100, "checksum_dropped": 8}
    ledger.split_kernel_drops(client, link)
    assert client["kernel_dropped"] == 2
    balances = ledger.balances(link=link, client=client).balances
    assert balances["delivered = received + kernel dropped + checksum dropped"] == 0


def test_packets_of_others_that_fail_their_checksum_leave_the_streams_figures_alone() -> None:
    client = {"packets_received": 80, "kernel_dropped": 15}
    link = {
        "delivered": 100, "checksum_dropped": 8, "other_delivered": 5, "other_checksum_dropped": 3,
    }  # fmt: skip
    # Of the stream 95 arrived, 5 of them damaged: 80 received, 10 lost in the socket's buffer.
    ledger.split_kernel_drops(client, link)
    assert client["kernel_dropped"] == 10
    balances = ledger.balances(link=link, client=client).balances
    assert balances["delivered = received + kernel dropped + checksum dropped"] == 0
