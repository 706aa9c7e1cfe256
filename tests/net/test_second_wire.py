"""A second wire is one entry of the registry: its peers run over a real link, and its results are those of any case."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.results import CaseResult, Status
from harness.run.case import run_case
from harness.run.context import RunContext
from harness.scenario.expand import expand
from harness.scenario.protocols import PROTOCOLS, WireProtocol
from tests.support.proven import once_proven
from tests.support.toy_wire import CONTROL, COUNTS, SOUND, VIDEO

pytestmark = [pytest.mark.root, pytest.mark.timeout(200)]

TOY = WireProtocol("toy/1", "tests.support.toy_wire:ToyHost", "tests.support.toy_wire:ToyClient")
SCENARIO = """\
protocol: toy/1
media: {source: testcard, mode: 320x180@60, duration: 1 s}
link: {backend: tun, down: {loss: 20 %}}
"""


def run(folder: Path, text: str) -> CaseResult:
    file = folder / "toy.yaml"
    file.write_text(text, encoding="utf-8")
    [case] = expand(file).cases
    return once_proven(
        lambda place: run_case(case, place, RunContext(run_id="toy")), lambda result: result.reason, folder
    )


def test_a_wire_whose_client_tells_nothing_is_streamed_counted_and_judged_by_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, TOY.name, TOY)
    result = run(tmp_path, SCENARIO)
    assert result.status is Status.PASSED, result.reason
    assert result.protocol == "toy/1"
    assert {role: (peer.program, peer.ports) for role, peer in result.peers.items()} == {
        "host": ("toy host", [VIDEO, SOUND]),
        "client": ("toy client", []),
    }
    ledger = result.ledgers["host_to_client"]
    assert ledger.counts["packets_sent"] == COUNTS[VIDEO] + COUNTS[SOUND]
    assert ledger.counts["other_in"] == COUNTS[CONTROL], "the third port is none of the stream's"
    assert ledger.balances["sent = link in + device dropped"] == 0
    assert not any(ledger.balances.values())
    assert result.ledgers["client_to_host"].counts["link_in"] > 0
    # Of frames that nobody has seen, nothing is said: no check that could not fail, no figure that is 0.
    assert [check.name for check in result.checks] == ["transport loss is the loss asked for"]
    assert result.theory == {}
    measured = {name for name, metric in result.metrics.items() if metric.value is not None}
    assert {"packets_sent", "transport_loss"} <= measured
    assert not measured & {"recovery", "frames_lost", "packets_lost", "frames_complete"}


def test_a_client_of_that_wire_that_is_killed_leaves_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, TOY.name, TOY)
    result = run(tmp_path, SCENARIO + "events:\n  - {at: 200 ms, kill: client}\n")
    assert result.status is Status.PASSED, result.reason
    assert result.ledgers["host_to_client"].counts["packets_sent"] == COUNTS[VIDEO] + COUNTS[SOUND]
