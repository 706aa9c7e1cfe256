"""The link model: verdicts are a function of seed and packet number, and every packet is accounted for."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.core._core import LinkModel

probability = st.one_of(st.just(0.0), st.floats(0.0, 1.0))
delay_us = st.floats(0.0, 50_000.0)

loss = st.one_of(
    st.just({"kind": "none"}),
    st.builds(lambda p: {"kind": "independent", "p": p}, probability),
    st.builds(
        lambda p, r, bad, good: {"kind": "gilbert_elliott", "p": p, "r": r, "bad": bad, "good": good},
        probability,
        st.floats(0.001, 1.0),
        probability,
        probability,
    ),
    st.builds(
        lambda every, phase: {"kind": "periodic", "every": every, "offset": phase % every},
        st.integers(1, 40),
        st.integers(0, 39),
    ),
)

unqueued = st.fixed_dictionaries(
    {
        "loss": loss,
        "delay_us": delay_us,
        "jitter_us": delay_us,
        "jitter_distribution": st.sampled_from(["uniform", "normal", "pareto"]),
        "jitter_reorder": st.booleans(),
        "reorder": st.none() | st.fixed_dictionaries({"p": probability, "extra_us": delay_us}),
        "duplicate": probability,
        "corrupt": probability,
        "corrupt_mode": st.sampled_from(["checksum", "payload"]),
    }
)
queued = st.fixed_dictionaries(
    {
        "rate_kbps": st.integers(1, 1_000_000),
        "queue_packets": st.none() | st.integers(1, 50),
        "queue_bytes": st.none() | st.integers(1, 100_000),
    }
)
seeds = st.integers(0, 2**64 - 1)
gaps_ns = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=120)


def fates(spec: dict[str, Any], seed: int, gaps: list[int], sizes: int = 1000) -> list[Any]:
    """Outcome, copies and which of them are corrupt, of each packet."""
    model = LinkModel(json.dumps(spec), seed)
    now, found = 0, []
    for gap in gaps:
        now += gap
        outcome, deliveries = model.offer(now, sizes)
        found.append((outcome, [corrupt for _, corrupt in deliveries]))
    return found


@given(spec=unqueued, seed=seeds, gaps=gaps_ns)
def test_verdicts_do_not_depend_on_when_packets_come(
    spec: dict[str, Any], seed: int, gaps: list[int]
) -> None:
    assert fates(spec, seed, gaps) == fates(spec, seed, [0] * len(gaps))


@given(spec=unqueued, extra=queued, seed=seeds, gaps=gaps_ns)
def test_the_same_seed_gives_the_same_arrivals(
    spec: dict[str, Any], extra: dict[str, Any], seed: int, gaps: list[int]
) -> None:
    first, second = (LinkModel(json.dumps(spec | extra), seed) for _ in range(2))
    now = 0
    for gap in gaps:
        now += gap
        assert first.offer(now, 700) == second.offer(now, 700)
    assert first.counters() == second.counters()


@given(spec=unqueued, extra=queued, seed=seeds, gaps=gaps_ns)
def test_every_packet_is_accounted_for_at_any_time(
    spec: dict[str, Any], extra: dict[str, Any], seed: int, gaps: list[int]
) -> None:
    model = LinkModel(json.dumps(spec | extra), seed)
    now = scheduled = 0
    for gap in gaps:
        now += gap
        _, deliveries = model.offer(now, 1200)
        scheduled += len(deliveries)
        assert all(at >= now for at, _ in deliveries)
        counts = model.counters(now)
        assert counts["dropped_total"] == counts["dropped_loss"] + counts["dropped_queue"]
        assert (
            counts["link_in"] + counts["duplicated"]
            == counts["dropped_total"] + counts["delivered"] + counts["in_flight"]
        )
    final = model.counters()
    assert (final["in_flight"], final["delivered"]) == (0, scheduled)
    assert final["delivered_bytes"] == 1200 * scheduled


@given(spec=unqueued, extra=queued, seed=seeds, gaps=gaps_ns)
def test_without_reordering_packets_arrive_in_order(
    spec: dict[str, Any], extra: dict[str, Any], seed: int, gaps: list[int]
) -> None:
    spec = spec | extra | {"jitter_reorder": False, "reorder": None}
    model = LinkModel(json.dumps(spec), seed)
    now = last = 0
    for gap in gaps:
        now += gap
        for at, _ in model.offer(now, 1200)[1]:
            assert at >= last
            last = at
    assert model.counters()["reordered"] == 0


@given(extra=queued, seed=seeds, gaps=gaps_ns, size=st.integers(1, 1500))
def test_the_bottleneck_never_sends_faster_than_its_rate(
    extra: dict[str, Any], seed: int, gaps: list[int], size: int
) -> None:
    model = LinkModel(json.dumps(extra), seed)
    serve_ns = (size + 28) * 8_000_000 / extra["rate_kbps"]
    now, departures = 0, []
    for gap in gaps:
        now += gap
        departures += [at for at, _ in model.offer(now, size)[1]]
    for before, after in itertools.pairwise(departures):
        # stamps are rounded up to whole ns
        assert after - before >= serve_ns - 1
