"""A session of which no frame arrives: a failure, unless its link as asked or its scenario lets it come to that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import ledger, records, theory
from harness.analysis.definitions import METRICS
from harness.analysis.results import CaseResult, Check, Ledger, Metric, Status
from harness.analysis.theory import Blocks, GilbertElliott, Independent, Periodic
from harness.peers.peer import Stats
from harness.peers.simulated import Simulation
from harness.run import live, sim
from harness.run.arrival import ALPHA, arrival_check, chance_of_none, unknown_stream
from harness.run.case import run_case
from harness.run.code import code_of
from harness.run.context import RunContext
from harness.scenario.expand import Case, expand
from harness.scenario.model import Session

TEN_SECONDS = {"duration": "10 s", "bitrate": "10 Mbit/s"}
"""600 frames of 18 data shards and, with 20 % FEC, 4 more: 13.3 Mbit/s on the wire."""


def session(down: dict[str, Any] | None = None, **keys: Any) -> Session:
    return Session.model_validate({"media": TEN_SECONDS, "link": {"down": down or {}}, **keys})


def sent(spec: Session) -> list[Blocks]:
    return [code_of(spec).blocks(spec.media.sizes.size.bytes)] * spec.media.frame_count


def chance(spec: Session, *, live: bool = False) -> float:
    return chance_of_none(spec, [sent(spec)], live=live)


@pytest.mark.parametrize(
    "loss",
    [
        Independent(0.0),
        Independent(0.3),
        Independent(1.0),
        GilbertElliott(0.2, 0.3),
        GilbertElliott(0.1, 0.2, 0.7, 0.1),
    ],
)
def test_the_chance_that_no_frame_is_complete_is_that_of_the_whole_distribution(loss: theory.Loss) -> None:
    frames: list[Blocks] = [((4, 1),), ((2, 0), (3, 2)), ((7, 3),)]
    assert theory.chance_of_none(frames, loss) == pytest.approx(theory.predict(frames, loss).pmf[0])
    assert theory.chance_of_none([], loss) == pytest.approx(1.0)


def test_of_periodic_loss_a_frame_counts_that_survives_at_every_phase() -> None:
    """Nine packets meet one of every ninth at any phase, ten of them one or two."""
    for every, offset, blocks, none in (
        (9, 0, ((8, 1),), 0.0),
        (9, 0, ((9, 1),), 1.0),
        (9, 0, ((8, 1), (9, 1)), 1.0),
        (9, 9, ((9, 0),), 0.0),
        (1, 0, ((1, 0),), 1.0),
    ):
        assert theory.chance_of_none([blocks], Periodic(every, offset)) == none
    assert theory.chance_of_none([((9, 1),), ((8, 1),)], Periodic(9)) == 0.0


@pytest.mark.parametrize(
    ("down", "lets_through"),
    [
        ({}, True),
        ({"loss": "40 %"}, True),
        ({"loss": "60 %"}, False),
        ({"loss": "100 %"}, False),
        ({"corrupt": "60 %"}, False),
        ({"loss": {"rate": "20 %", "burst": 16}}, True),
        ({"loss": {"every": 8}}, True),
        ({"loss": {"every": 2}}, False),
        ({"jitter": {"spread": "7 ms", "reorder": True}}, True),
        ({"jitter": {"spread": "8 ms", "reorder": True}}, False),
        ({"jitter": {"spread": "8 ms"}}, True),
        ({"reorder": {"rate": "1 %", "extra": "60 ms"}}, True),
        ({"reorder": {"rate": "1 %", "extra": "61 ms"}}, False),
        ({"reorder": {"rate": "0 %", "extra": "61 ms"}}, True),
        ({"rate": "20 Mbit/s"}, True),
        ({"rate": "4 Mbit/s", "overhead": "0 B"}, True),
        ({"rate": "4 Mbit/s", "overhead": "1500 B"}, False),
        ({"rate": "1 Mbit/s"}, False),
        ({"rate": "20 Mbit/s", "queue_packets": 44}, True),
        ({"rate": "20 Mbit/s", "queue_packets": 43}, False),
        ({"rate": "20 Mbit/s", "queue_bytes": "60 kB"}, True),
        ({"rate": "20 Mbit/s", "queue_bytes": "50 kB"}, False),
    ],
)
def test_a_link_excuses_a_stream_only_where_it_may_lose_all_of_it(
    down: dict[str, Any], lets_through: bool
) -> None:
    found = chance(session(down))
    assert (found <= ALPHA) is lets_through, found


def test_the_chance_over_a_steady_link_is_exact_and_of_all_seeds() -> None:
    spec = session({"loss": "60 %"})
    one = theory.predict(sent(spec), Independent(0.6)).pmf[0]
    assert 0.5 < one < 1
    assert chance(spec) == pytest.approx(one)
    assert chance_of_none(spec, [sent(spec)] * 3, live=False) == pytest.approx(one**3)


def test_a_bottleneck_that_is_too_slow_carries_what_comes_before_its_queue_is_half_full() -> None:
    """At 12 Mbit/s some 125 packets a second are too many: 4 s, of which a live stream may not have had two."""
    assert chance(session({"rate": "12 Mbit/s"})) == 0.0
    assert chance(session({"rate": "12 Mbit/s"}), live=True) == 0.0
    assert chance(session({"rate": "11 Mbit/s"})) == 0.0
    assert chance(session({"rate": "11 Mbit/s", "queue_packets": 400}), live=True) == 1.0


def outage(*times: tuple[str, str]) -> Session:
    return session(events=[{"at": at, "down": {"loss": loss}} for at, loss in times])


def test_an_outage_excuses_what_was_sent_in_it_and_nothing_else() -> None:
    whole = outage(("0 s", "100 %"))
    assert chance(whole) == 1.0
    # Three frames at the edge of a span: two that may have met another state, and the part of one.
    assert chance(outage(("50 ms", "100 %"))) == 0.0
    assert chance(outage(("40 ms", "100 %"))) == 1.0
    assert chance(outage(("0 s", "100 %"), ("9950 ms", "0 %"))) == 0.0
    assert chance(outage(("0 s", "100 %"), ("9960 ms", "0 %"))) == 1.0
    # A live stream may begin two seconds after the scenario's time does.
    assert chance(outage(("2040 ms", "100 %")), live=True) == 1.0
    assert chance(outage(("2060 ms", "100 %")), live=True) == 0.0


def test_a_death_ends_the_time_that_counts() -> None:
    for at, of_live in (("2040 ms", 1.0), ("2060 ms", 0.0)):
        spec = session(events=[{"at": at, "kill": "host"}])
        assert chance(spec, live=True) == of_live
        assert chance(spec) == 0.0
    unsent = session(events=[{"at": "5 s", "kill": "host"}])
    assert chance_of_none(unsent, [[]], live=True) == 1.0


def points(*rows: tuple[str, dict[str, str]]) -> Session:
    return session({"trace": {"points": [{"at": at, **row} for at, row in rows]}})


def test_points_of_a_trace_that_are_shorter_than_a_frame_are_taken_together() -> None:
    steps = [(f"{10 * n} ms", {"loss": f"{n % 2} %"}) for n in range(20)]
    assert chance(points(*steps)) <= ALPHA
    # One point in two is an outage: between them no frame is sent whole.
    steps = [(f"{10 * n} ms", {"loss": f"{n % 2 * 100} %"}) for n in range(20)]
    assert chance(points(*steps)) == 1.0
    # One in twenty leaves those before it and after it.
    steps = [(f"{10 * n} ms", {"loss": f"{100 if n == 10 else n % 2} %"}) for n in range(20)]
    assert chance(points(*steps)) <= ALPHA
    # What is taken together has the worst of its losses, and the slowest of its rates.
    assert chance(points(*((f"{10 * n} ms", {"loss": f"{1 + n % 2 * 44} %"}) for n in range(20)))) > ALPHA
    assert chance(points(*((f"{10 * n} ms", {"rate": f"{1 + n % 2 * 29} Mbit/s"}) for n in range(20)))) == 1.0
    # Of two long points the worse does not speak for the better.
    assert chance(points(("0 s", {"loss": "45 %"}), ("5 s", {"loss": "0 %"}))) == 0.0


def test_after_a_bottleneck_that_was_too_slow_what_waits_has_to_pass_first() -> None:
    slow, fast = {"rate": "1 Mbit/s"}, {"rate": "30 Mbit/s"}
    assert chance(points(("0 s", slow), ("5 s", fast), ("20 s", fast))) == 0.0
    # Half of its 1000 packets take 0.3 s at what is over.
    assert chance(points(("0 s", slow), ("9.6 s", fast), ("20 s", fast))) == 0.0
    assert chance(points(("0 s", slow), ("9.8 s", fast), ("20 s", fast))) == 1.0
    assert chance(points(("0 s", slow), ("9.8 s", {"rate": "300 Mbit/s"}), ("20 s", fast))) == 0.0


def test_a_link_without_a_bottleneck_lets_all_go_that_waited() -> None:
    events = [{"at": "9700 ms", "down": {"rate": None}}, {"at": "9730 ms", "down": {"rate": "30 Mbit/s"}}]
    assert chance(session({"rate": "1 Mbit/s"}, events=events)) == 0.0


COUNTS = {"packets_sent": 612, "link_in": 620, "other_in": 8, "delivered": 606, "other_delivered": 6}


def check(
    spec: Session,
    whole: int,
    *,
    counts: dict[str, int] | None = None,
    streams: Sequence[Any] | None = None,
    **figures: float,
) -> Check | None:
    metrics = {name: Metric(value=value, unit=METRICS[name].unit) for name, value in figures.items()}
    frames = [sent(spec)] if streams is None else streams
    return arrival_check(spec, whole, lambda: frames, metrics, counts or {}, live=True)


def test_a_stream_of_which_nothing_arrives_fails_and_says_where_it_ended() -> None:
    found = check(session(), 0, counts=COUNTS | {"packets_received": 0})
    assert found is not None
    assert not found.passed
    assert found.measured == "none of 600; packets: 612 sent, 612 in the link, 600 delivered, 0 received"
    assert found.detail.startswith("the client took none of them: client.log")
    assert found.detail.endswith("expect: [frames_complete == 0]")
    for counts, step in (
        ({"packets_sent": 0, "packets_socket_dropped": 612}, "no packet on the wire: its socket refused 612"),
        ({"packets_sent": 612, "link_in": 8, "other_in": 8}, "never came to the link"),
        ({"link_in": 612, "delivered": 6, "other_delivered": 6}, "let nothing through"),
        (
            COUNTS | {"packets_received": 600, "rejected_short": 1, "rejected_auth": 599},
            "599 packets as auth",
        ),
        (COUNTS | {"packets_received": 600}, "frames.parquet"),
        ({}, "frames.parquet"),
    ):
        found = check(session(), 0, counts=counts)
        assert found is not None
        assert step in found.detail


def test_a_simulation_has_no_logs_to_look_into() -> None:
    spec = session()
    found = arrival_check(spec, 0, lambda: [sent(spec)], {}, {"packets_received": 0}, live=False)
    assert found is not None
    assert found.detail.startswith("frames.parquet")


def test_what_may_come_to_nothing_by_chance_is_no_failure() -> None:
    spec = session({"loss": "50 %"})
    assert ALPHA < chance(spec) < 0.5
    assert check(spec, 0) is None


def test_one_frame_is_enough() -> None:
    found = check(session(), 1)
    assert found is not None
    assert (found.passed, found.measured, found.detail) == (True, "1 frames", "")


def test_a_scenario_that_expects_nothing_to_arrive_is_believed() -> None:
    for expected, figures in (
        ("frames_complete == 0", {"frames_complete": 0}),
        ("frames_lost <= 600", {"frames_lost": 600}),
        ("recovery < 50 %", {"recovery": 0}),
    ):
        assert check(session(expect=[expected]), 0, **figures) is None
        # Without its figure the expectation does not hold, and excuses nothing.
        assert check(session(expect=[expected]), 0) is not None
    for expected, figures in (
        ("frames_complete > 0", {"frames_complete": 0}),
        ("frames_corrupt == 0", {"frames_corrupt": 0}),
    ):
        assert check(session(expect=[expected]), 0, **figures) is not None
    # Nothing was lost of nothing.
    assert check(session(expect=["frames_lost == 0"]), 0, streams=[[]], frames_lost=0) is not None


def test_a_host_that_keeps_no_records_has_sent_all_its_frames_without_fec_at_worst() -> None:
    spec = session({"loss": "10 %"})
    assert unknown_stream(spec, 6001) == [((11, 0),)] * 600
    assert unknown_stream(spec, 0) == []
    killed = session(events=[{"at": "5 s", "kill": "host"}])
    assert unknown_stream(killed, 3000) == [((10, 0),)] * 300
    assert chance_of_none(spec, [unknown_stream(spec, 13_200)], live=True) <= ALPHA
    assert chance_of_none(session({"loss": "40 %"}), [unknown_stream(spec, 13_200)], live=True) > ALPHA


class Deaf(Simulation):
    """A simulation whose client makes no frame of what it is sent."""

    def stats(self, role: Any) -> Stats:
        counts = dict(super().stats(role).counters)
        if role == "client":
            counts["frames_unrecoverable"] += counts["frames_complete"]
            counts["frames_complete"] = counts["frames_decodable"] = counts["frames_undecodable"] = 0
        return Stats(counts)


def case_of(folder: Path, text: str) -> Case:
    file = folder / "one.yaml"
    file.write_text(f"media: {{frames: 60}}\ntheory: false\n{text}\n", encoding="utf-8")
    [case] = expand(file).cases
    return case


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "simulation_of", lambda _protocol: Deaf)


@pytest.mark.parametrize("each", ["a folder", "a row"])
@pytest.mark.usefixtures("deaf")
def test_a_simulated_session_of_which_no_frame_arrives_fails(tmp_path: Path, each: str) -> None:
    from harness.run.case import row_of

    case = case_of(tmp_path, "link: {backend: sim}")
    context = RunContext(run_id="one")
    found = run_case(case, tmp_path, context) if each == "a folder" else row_of(case, context)
    assert found.status is Status.FAILED
    assert found.reason.startswith("a frame arrives whole: measured none of 60; packets: ")


@pytest.mark.usefixtures("deaf")
def test_a_simulated_session_that_need_not_bring_anything_passes(tmp_path: Path) -> None:
    for text in (
        "link: {backend: sim, down: {loss: 100 %}}",
        "link: {backend: sim}\nexpect: [frames_complete == 0]",
    ):
        assert run_case(case_of(tmp_path, text), tmp_path, RunContext(run_id="one")).status is Status.PASSED


def test_the_check_of_arrivals_does_not_enter_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of(tmp_path, "link: {backend: sim}")
    found = run_case(case, tmp_path, RunContext(run_id="one"))
    [made] = [check for check in found.checks if check.name == "a frame arrives whole"]
    assert (made.passed, made.measured) == (True, "60 frames")
    monkeypatch.setattr(sim, "arrival_check", lambda *_args, **_named: None)
    without = run_case(case, tmp_path, RunContext(run_id="one"))
    assert len(without.checks) == len(found.checks) - 1
    assert without.digest == found.digest


def live_result(
    spec: Session, *, recorded: set[Any], client: dict[str, int] | None, **seen: Any
) -> CaseResult:
    """What the judge of a live case adds to a result of 600 frames of which the link delivered each packet."""
    rows = records.empty(600)
    rows["index"] = np.arange(600)
    rows["bytes"][:] = 20_833 if "host" in recorded else records.NULL
    stats = {"client": Stats(client)} if client is not None else {}
    found = live._Session(dict(stats), recorded, rows)
    down = {"link_in": 13_208, "other_in": 8, "delivered": 13_208, "other_delivered": 8}
    result = CaseResult(
        id="one", scenario="one", seed=1, protocol=spec.protocol, backend="tun", status=Status.PASSED,
        ledgers={live.DOWN: Ledger(counts=ledger.balances(None, down, client).counts)},
        outside=seen.get("outside", {}), metrics=seen.get("metrics", {}),
    )  # fmt: skip
    live._judge_arrival(result, spec, found, down)
    return result


def arrivals(result: CaseResult) -> list[tuple[bool, str]]:
    return [(check.passed, check.measured.partition(";")[0]) for check in result.checks]


def test_a_live_session_of_which_no_frame_arrives_fails() -> None:
    both: set[Any] = {"host", "client"}
    for loss, whole, expected in (
        ("0 %", 0, [(False, "none of 600")]),
        ("40 %", 0, [(False, "none of 600")]),
        ("60 %", 0, []),
        ("60 %", 3, [(True, "3 frames")]),
    ):
        spec = session({"loss": loss})
        assert arrivals(live_result(spec, recorded=both, client={"frames_complete": whole})) == expected


def test_a_client_that_was_killed_claims_nothing() -> None:
    assert arrivals(live_result(session(), recorded={"host"}, client=None)) == []


def test_behind_a_host_of_another_project_frames_are_taken_as_unprotected() -> None:
    """22 packets each: 10 % of loss leaves one in ten whole, 40 % leaves none."""
    for loss, expected in (("10 %", [(False, "none of 600")]), ("40 %", [])):
        spec = session({"loss": loss})
        assert arrivals(live_result(spec, recorded={"client"}, client={"frames_complete": 0})) == expected


def test_a_client_of_another_project_is_judged_by_what_it_tells_or_by_the_capture() -> None:
    ours: set[Any] = {"host"}
    wire = {"wire_frames_whole": Metric(value=0.0, unit="frames")}
    for told, metrics, expected in (
        ({"client": {"frames": 0}}, {}, [(False, "none of 600")]),
        ({"client": {"frames": 2}}, wire, [(True, "2 frames")]),
        ({"client": {"packets_lost": 5}}, {}, []),
        ({"host": {"frames": 0}}, {}, []),
        ({}, wire, [(False, "none of 600")]),
        ({}, {"wire_frames_whole": Metric(value=None, unit="frames")}, []),
    ):
        found = live_result(session(), recorded=ours, client=None, outside={"told": told}, metrics=metrics)
        assert arrivals(found) == expected, told
