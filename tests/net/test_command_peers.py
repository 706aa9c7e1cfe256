"""Described programs at both ends of a real link: they pass, fail, or cannot, and whoever lies is found out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.analysis.results import CaseResult, Status
from harness.link.tun import TunLink
from harness.network.topology import topology
from harness.peers import pairing
from harness.peers.command import CommandKind, CommandPeer
from harness.peers.peer import Place
from harness.run import outside
from harness.run.case import run_case
from harness.run.context import RunContext
from harness.scenario.expand import expand
from harness.scenario.foreign import load
from harness.scenario.model import Session
from punktfunk.errors import HarnessError
from tests.support import foreign_program
from tests.support.proven import once_proven

pytestmark = [pytest.mark.root, pytest.mark.timeout(200)]

SCENARIO = """\
name: mine
host: a-host
client: a-client
media: {source: testcard, mode: 640x360@30, duration: 1500 ms}
link: {backend: tun}
"""
HOST = """\
name: small host
role: host
command: ["{python}", -S, PROGRAM, host, "{address}", "{port}"]
ready: {listens: udp}
stop: {patience: 300 ms}
ends: with-peer
"""
CLIENT = """\
name: small client
role: client
command: ["{python}", -S, PROGRAM, client, "{address}", "{port}", "{seconds}"]
ready: {line: ^streaming$}
stop: {patience: 300 ms}
ends: itself
statistics: {line: "received (?P<frames>[0-9]+) frames, (?P<frames_corrupt>[0-9]+) corrupt"}
"""


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str], str]:
    """What came of asking each program for something impossible, once for all tests here."""
    return {}


@pytest.fixture(autouse=True)
def _asked_once(monkeypatch: pytest.MonkeyPatch, answers: dict[tuple[str, str], str]) -> None:
    monkeypatch.setattr(outside, "_asked", answers)
    monkeypatch.setattr(outside, "_IMPOSSIBLE_S", 0.5)


def run(
    folder: Path, *, scenario: str = SCENARIO, host: str = HOST, client: str = CLIENT, late: str = ""
) -> CaseResult:
    """Run the one case of a scenario with those two programs; ``folder/case`` is its folder."""
    peers = folder / "peers"
    peers.mkdir()
    for name, text in (("a-host", host), ("a-client", client)):
        (peers / f"{name}.yaml").write_text(
            text.replace("PROGRAM", foreign_program.__file__), encoding="utf-8"
        )
    (folder / "mine.yaml").write_text(scenario, encoding="utf-8")
    [case] = expand(folder / "mine.yaml").cases

    def run_in(place: Path) -> CaseResult:
        (folder / "case").unlink(missing_ok=True)
        (folder / "case").symlink_to(place)
        return run_case(case, place, RunContext(run_id="peers"))

    return once_proven(run_in, lambda result: result.reason, folder, late=late)


def test_two_programs_that_keep_no_records_are_judged_from_outside(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.status is Status.PASSED, result.reason
    assert {role: peer.program for role, peer in result.peers.items()} == {
        "host": "small host",
        "client": "small client",
    }
    measured = {check.name: check.measured for check in result.checks}
    assert set(measured) == {
        "transport loss is the loss asked for",
        "the stream reaches the client",
        "the stream goes on in its second half",
        "the client tells of no frames corrupt",
        "a frame arrives whole",
    }
    counts = result.ledgers["host_to_client"].counts
    told = result.outside["told"]["client"]
    assert measured["a frame arrives whole"] == f"{told['frames']} frames"
    assert 0 < told["frames"] <= counts["delivered"] - counts["other_delivered"]
    assert result.outside["evidence"] == ["packets", "its own statistics"]
    asked = result.outside["impossible"]
    assert asked["host"].startswith("asked for a port that is taken: ended with status 1 after ")
    assert "Address already in use" in asked["host"]
    assert asked["client"].startswith("asked for a host that is not there: kept trying after ")
    assert (tmp_path / "case" / "client.log").read_text(encoding="utf-8").splitlines()[
        -1
    ] == f"received {told['frames']} frames, 0 corrupt"


def test_a_host_that_streams_to_the_dead_fails_and_one_that_stops_passes(tmp_path: Path) -> None:
    scenario = SCENARIO + "events: [{at: 500 ms, kill: client}]\n"
    for vice, status, limit_s in (("", Status.PASSED, 30.0), ("deaf", Status.FAILED, 4.0)):
        folder = tmp_path / (vice or "good")
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outside, "DEATH_S", limit_s)
            patch.setattr(outside, "_SILENT_S", 3.0)
            host = HOST.replace('"{port}"]', f'"{{port}}", "{vice}"]')
            result = run(folder, scenario=scenario, host=host)
        assert result.status is status, result.reason
        [check] = [c for c in result.checks if "dead client" in c.name]
        assert check.passed is (status is Status.PASSED)
        assert check.measured == "it did not" or check.measured.startswith("after ")


def test_what_happens_at_its_time_happens_to_the_stream_and_not_before_it(tmp_path: Path) -> None:
    scenario = SCENARIO + "events: [{at: 200 ms, kill: host}]\n"
    result = run(tmp_path, scenario=scenario, host=HOST.replace('"{port}"]', '"{port}", slow]'))
    assert result.status is Status.PASSED, [check for check in result.checks if not check.passed]


@pytest.mark.parametrize(
    ("vice", "status", "reason"),
    [
        ("cannot", Status.UNSUPPORTED, "small client says that it cannot: status 127: (it said nothing)"),
        (
            "mute",
            Status.FAILED,
            "small client was not ready within 1.5 s (seen by a line that matches '^streaming$')",
        ),
    ],
)
def test_who_cannot_and_who_fails_are_told_apart(
    tmp_path: Path, vice: str, status: Status, reason: str
) -> None:
    within = "1500 ms" if vice == "mute" else "60 s"
    client = CLIENT.replace('"{seconds}"]', f'"{{seconds}}", {vice}]').replace(
        "ready: {", f"ready: {{within: {within}, "
    )
    result = run(tmp_path, client=client)
    assert result.status is status, result.reason
    assert reason in result.reason


def test_a_host_that_finds_out_late_that_it_cannot_is_no_failure_of_its_client(tmp_path: Path) -> None:
    host = HOST.replace('"{port}"]', '"{port}", gives-up]') + "refuses: ^function not\n"
    client = CLIENT.replace("ready: {", "ready: {within: 1500 ms, ")
    result = run(tmp_path, host=host, client=client, late="small client was not ready within 1.5 s")
    assert result.status is Status.UNSUPPORTED, result.reason
    assert result.reason == "small host says that it cannot: function not implemented [PF200]"


@pytest.mark.parametrize(
    ("loss", "line", "status"),
    [
        ("{loss: 2 %}", "incomplete: ^some are missing", Status.PASSED),
        ("{}", "incomplete: ^some are missing", Status.FAILED),
    ],
    ids=["with loss", "without loss"],
)
def test_a_client_that_fails_for_missing_frames_does_so_over_a_link_without_loss_alone(
    tmp_path: Path, loss: str, line: str, status: Status
) -> None:
    scenario = SCENARIO.replace("link: {", f"link: {{down: {loss}, ")
    client = CLIENT.replace('"{seconds}"]', '"{seconds}", particular]') + line + "\n"
    result = run(tmp_path, scenario=scenario, client=client)
    assert result.status is status, result.reason
    assert status is Status.PASSED or "client failed: client: some are missing" in result.reason


def test_who_claims_what_cannot_be_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_IMPOSSIBLE_S", 60.0)
    texts = {"host": HOST, "client": CLIENT}
    claims = {
        ("client", "liar"): "small client, asked for a host that is not there, says that it is ready",
        ("client", "lets-go"): "small client, asked for a host that is not there, ends with status 0",
        ("host", "lets-go"): "small host, asked for a port that is taken, ends with status 0",
    }
    spec = Session.model_validate({"link": {"backend": "tun"}})
    with topology("claims") as made, TunLink(made, tmp_path, [20_000]) as link:
        for number, ((role, vice), said) in enumerate(claims.items()):
            text = (
                texts[role]
                .replace("PROGRAM", foreign_program.__file__)
                .replace('{port}"', f'{{port}}", {vice}')
            )
            (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
            kind = CommandKind(load(tmp_path / f"{number}.yaml"), frozenset({20_000}))
            with pytest.raises(HarnessError) as found:
                outside.ask_impossible((kind,), spec, Place(link, tmp_path))
            assert said in found.value.cause


def test_a_client_that_ends_with_status_0_in_any_case_has_paired_where_it_says_so(tmp_path: Path) -> None:
    cases = [
        ("Pairing failed", 0, "", True),
        ("Pairing failed", 0, "paired: ^Paired", False),
        ("Paired with {pin}", 0, "paired: ^Paired", True),
        ("Paired with {pin}", 1, "paired: ^Paired", False),
    ]
    spec = Session.model_validate({"protocol": "gamestream", "link": {"backend": "tun"}})
    with topology("pairs") as made, TunLink(made, tmp_path, [20_000]) as link:
        place = Place(link, tmp_path)

        def peer(text: str) -> CommandPeer:
            (tmp_path / "peer.yaml").write_text(text, encoding="utf-8")
            return CommandKind(load(tmp_path / "peer.yaml"), frozenset({20_000}))(spec, place)

        host = peer(HOST + "protocols: [gamestream]\npairing: {enter: ['true']}\n")
        for said, status, line, paired in cases:
            pair = f"pairing:\n  pair: [sh, -c, 'echo {said}; exit {status}']\n  {line}\n"
            attempt = pairing.pair("gamestream", host, peer(CLIENT + "protocols: [gamestream]\n" + pair))
            assert attempt.paired is paired, (said, status, line)
            assert attempt.words.startswith(said.partition(" {")[0])


def test_what_a_description_says_that_it_cannot_do_is_not_asked_of_it(tmp_path: Path) -> None:
    layered = SCENARIO + "layers: {hard: {}}\n"
    result = run(tmp_path, scenario=layered, client=CLIENT + "cannot: {hard: has no such thing}\n")
    assert result.status is Status.UNSUPPORTED
    assert result.reason == "small client has no such thing [PF200]"
    assert not list((tmp_path / "case").glob("*.log")), "nothing was started"


def test_a_program_that_is_not_on_path_is_no_failure(tmp_path: Path) -> None:
    client = CLIENT.replace('"{python}"', "no-such-client-anywhere") + "about: from the moon\n"
    result = run(tmp_path, client=client)
    assert result.status is Status.UNSUPPORTED
    assert "no-such-client-anywhere of small client is not on PATH [PF200] (from the moon)" in result.reason
    assert sys.executable not in result.reason
