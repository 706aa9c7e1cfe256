"""Link specs over time, and as queueing disciplines."""

from __future__ import annotations

import statistics
import threading

import pytest

from harness.link.base import LinkSpecs, steady
from harness.link.qdisc import LINE_PACKETS, delay_table, overhead, stages
from harness.link.schedule import Schedule, timeline
from punktfunk.errors import CapabilityError
from tests.support.waiting import PATIENCE_S

TRACE = [
    {"at_ms": 0, "rate_kbps": 8000, "delay_us": 5000.0},
    {"at_ms": 100, "rate_kbps": 2000},
    {"at_ms": 250, "loss_p": 0.1, "delay_us": 9000.0},
]


def test_a_link_at_its_start_has_the_first_point_of_its_trace_and_no_changes() -> None:
    spec = {
        "delay_us": 1.0,
        "trace": TRACE,
        "trace_repeat": True,
        "changes": [{"at_ms": 5, "set": {"delay_us": 2.0}}],
    }
    assert steady(spec) == {"delay_us": 5000.0, "rate_kbps": 8000}
    assert LinkSpecs(spec, {}, 1).steady() == LinkSpecs(steady(spec), {}, 1)


def test_points_of_a_trace_change_what_they_name_and_leave_the_rest() -> None:
    found = timeline({"duplicate": 0.1, "trace": TRACE, "trace_repeat": False})
    assert found.period_ms is None
    assert found.steps == [
        (100, {"duplicate": 0.1, "rate_kbps": 2000, "delay_us": 5000.0}),
        (
            250,
            {
                "duplicate": 0.1, "rate_kbps": 2000, "delay_us": 9000.0,
                "loss": {"kind": "independent", "p": 0.1},
            },
        ),
    ]  # fmt: skip


def test_a_trace_starts_over_one_step_after_its_last_point() -> None:
    assert timeline({"trace": TRACE}).period_ms == 400


def test_a_link_that_never_changes_has_no_timeline() -> None:
    assert timeline({"delay_us": 5.0}).steps == []


def test_a_schedule_applies_steps_in_order_and_stops_when_told() -> None:
    applied: list[object] = []
    done = threading.Event()

    def apply(spec: object) -> None:
        applied.append(spec)
        if len(applied) == 3:
            done.set()

    spec = {"trace": [{"at_ms": 0, "rate_kbps": 1}, {"at_ms": 1, "rate_kbps": 2}], "trace_repeat": True}
    follow = Schedule(timeline(spec), apply, name="down")
    follow.start()
    assert done.wait(PATIENCE_S)
    follow.stop()
    assert [step["rate_kbps"] for step in applied[:3]] == [1, 2, 1]  # type: ignore[index]


def test_what_a_step_raises_reaches_the_one_who_stops_the_schedule() -> None:
    failed = threading.Event()

    def apply(_spec: object) -> None:
        failed.set()
        raise CapabilityError("no")

    follow = Schedule(timeline({"changes": [{"at_ms": 0.1, "set": {"rate_kbps": 1}}]}), apply, name="up")
    follow.start()
    assert failed.wait(PATIENCE_S)
    with pytest.raises(CapabilityError, match="no"):
        follow.stop()


def test_loss_delay_and_duplicates_are_one_netem() -> None:
    [only] = stages({"delay_us": 20_000.0, "loss": {"kind": "independent", "p": 0.025}, "duplicate": 0.01})
    assert only.kind == "netem"
    assert only.arguments == (
        "limit", str(LINE_PACKETS), "delay", "20000us", "loss", "random", "2.500000%", "duplicate", "1.000000%",
    )  # fmt: skip


def test_bursts_keep_the_chains_probabilities() -> None:
    loss = {"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 1.0, "good": 0.0}
    assert stages({"loss": loss})[0].arguments[2:] == (
        "loss", "gemodel", "1.000000%", "25.000000%", "100.000000%", "0.000000%",
    )  # fmt: skip


def test_a_rate_brings_a_bottleneck_with_the_asked_queue() -> None:
    assert [stage.kind for stage in stages({"rate_kbps": 8000, "queue_packets": 50})] == [
        "netem",
        "tbf",
        "pfifo",
    ]
    assert stages({"rate_kbps": 8000, "queue_packets": 50})[2].arguments == ("limit", "50")
    _, bucket = stages({"rate_kbps": 8000, "queue_bytes": 60_000})
    assert bucket.arguments == ("rate", "8000kbit", "burst", "3028", "limit", "60000")


def test_a_datagram_weighs_its_payload_and_the_asked_overhead() -> None:
    ethernet, ip_udp = 14, 28
    assert ethernet + ip_udp + overhead({}) == 28
    assert ethernet + ip_udp + overhead({"overhead_bytes": 66}) == 66


@pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto"])
def test_the_table_of_delays_has_the_asked_distribution(distribution: str) -> None:
    table = delay_table({"jitter_us": 2000.0, "jitter_distribution": distribution})
    assert table is not None
    delays = [entry / 8192 * table.scale_us for entry in table.entries]
    mean, sd = {"uniform": (0, 2000 / 3**0.5), "normal": (0, 2000), "pareto": (2000, None)}[distribution]
    assert statistics.fmean(delays) == pytest.approx(mean, abs=60)
    if sd:
        assert statistics.pstdev(delays) == pytest.approx(sd, rel=0.02)
    assert max(abs(entry) for entry in table.entries) <= 32_767


def test_the_asked_share_of_packets_is_held_back() -> None:
    table = delay_table({"reorder": {"p": 0.1, "extra_us": 3000.0}})
    assert table is not None
    held = [entry for entry in table.entries if entry]
    assert len(held) / len(table.entries) == pytest.approx(0.1, abs=0.001)
    assert {round(entry / 8192 * table.scale_us) for entry in held} == {3000}


@pytest.mark.parametrize(
    "spec",
    [
        {"loss": {"kind": "periodic", "every": 8, "offset": 0}},
        {"corrupt": 0.1, "corrupt_mode": "payload"},
        {"rate_kbps": 1000, "queue_bytes": 10_000, "queue_packets": 10},
        {"jitter_us": 100.0, "reorder": {"p": 0.1, "extra_us": 100.0}},
    ],
)
def test_what_netem_cannot_do_is_an_error_and_not_another_link(spec: dict[str, object]) -> None:
    with pytest.raises(CapabilityError) as refused:
        stages(spec)
    assert "tun link" in refused.value.hint
