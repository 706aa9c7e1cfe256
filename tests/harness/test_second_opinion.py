"""A capture counts a case's ledger again: what agrees, what is off by one, what it cannot know."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.results import CaseResult, Ledger, Metric, PeerResult, RunResult, Status
from harness.dissect.reading import Survey
from harness.dissect.second_opinion import CHECK, opinion
from harness.run.verdict import conclude
from punktfunk.core import _core
from tests.support.captures import DATA_PORT, KEY, Sent, Stream, dissect, survey, write


def case_of(sent: list[Sent], config: Any, *, submitted: int, host_packets: int) -> CaseResult:
    """Return a case whose client is the core's own session and whose link counted what it let through."""
    client = _core.ClientReplay(config)
    whole = [packet for packet in sent if not packet.spoilt]
    for packet in whole:
        client.receive(packet.payload, packet.time_ns)
    client.settle()
    counts = {"packets_sent": host_packets, "frames_submitted": submitted} | client.stats()
    counts |= {"kernel_dropped": 0, "delivered": len(sent) + 9, "other_delivered": 9}
    counts |= {"checksum_dropped": len(sent) - len(whole) + 2, "other_checksum_dropped": 2}
    return CaseResult(
        id="case",
        scenario="s",
        seed=1,
        protocol="punktfunk/1",
        peers={"host": PeerResult(program="host", ports=[DATA_PORT])},
        backend="tun",
        status=Status.PASSED,
        ledgers={"host_to_client": Ledger(counts=counts, balances={"all": 0})},
    )


@pytest.fixture(scope="module")
def session() -> tuple[list[Sent], Any, CaseResult]:
    """Return a stream with losses, duplicates, reordering and wrong checksums, and its case."""
    config = _core.StreamConfig(key=KEY)
    stream = Stream(config, [60_000] + [9_000] * 20)

    def fate(frame: int, packet: int) -> int:
        if frame == 5 and packet < 4:
            return 0
        return (1, 1, 0, 1, 1, 2, 1)[(frame + 3 * packet) % 7]

    sent = list(stream.packets(fate))
    for at in (3, 40):
        sent[at].spoilt = True
    # Two neighbours change places that came once each.
    once = [packet.payload for packet in sent]
    at = next(at for at in range(10, len(sent)) if once.count(once[at]) == once.count(once[at + 1]) == 1)
    one, other = sent[at : at + 2]
    sent[at : at + 2] = [replace(one, payload=other.payload), replace(other, payload=one.payload)]
    total = sum(1 for _packet in Stream(config, stream.sizes).packets())
    return sent, config, case_of(sent, config, submitted=21, host_packets=total)


@pytest.fixture(scope="module")
def opened(session: tuple[list[Sent], Any, CaseResult], tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Return what is in the session's capture, with its key; a test that changes it takes a copy."""
    return survey(write(tmp_path_factory.mktemp("session") / "client.pcapng", session[0]), KEY)


ALL = [
    "packets that arrived",
    "with a wrong checksum",
    "received, or no room in the socket",
    "twice",
    "after a later one",
    "missing, but for the end",
    "missing, with the end",
]
FRAMES = ["whole frames", "data shards that FEC rebuilt", "data shards lost for good"]


def test_the_capture_agrees_with_a_ledger_that_is_right(
    session: tuple[list[Sent], Any, CaseResult], tmp_path: Path
) -> None:
    sent, _config, case = session
    path = write(tmp_path / "client.pcapng", sent)
    sealed = opinion(survey(path), case)
    assert [count.what for count in sealed.counts] == ALL
    assert sealed.left_out == [
        "frames and shards: the headers are sealed, and no key that was given opens them"
    ]
    opened = opinion(survey(path, KEY), case)
    assert [count.what for count in opened.counts] == ALL + FRAMES
    for found in (sealed, opened):
        assert found.disagreements == []
        assert found.check().passed
    by_name = {count.what: count.capture for count in opened.counts}
    assert by_name["with a wrong checksum"] == 2
    assert min(by_name["twice"], by_name["after a later one"], by_name["data shards that FEC rebuilt"]) > 0
    assert by_name["whole frames"] == 20
    assert by_name["data shards lost for good"] > 0


def test_a_counter_that_two_sides_have_is_that_of_its_side(
    session: tuple[list[Sent], Any, CaseResult], opened: Survey
) -> None:
    _sent, _config, right = session
    case = right.model_copy(deep=True)
    counts = case.ledgers["host_to_client"].counts
    # GameStream's client counts what it delivers of sound, too.
    counts["link_delivered"], counts["client_delivered"] = counts.pop("delivered"), 5
    found = opinion(opened, case)
    assert [count.what for count in found.counts] == ALL + FRAMES
    assert found.disagreements == []


@pytest.mark.parametrize(
    ("counter", "odd"),
    [
        ("delivered", {ALL[0]}),
        ("other_delivered", {ALL[0]}),
        ("checksum_dropped", {ALL[1]}),
        ("packets_received", {ALL[2]}),
        ("rejected_replay", {ALL[3]}),
        ("packets_duplicate", {ALL[3]}),
        ("packets_reordered", {ALL[4]}),
        ("packets_lost", {ALL[5], ALL[6]}),
        ("frames_complete", {FRAMES[0]}),
        ("data_shards_recovered", {FRAMES[1]}),
        ("data_shards_unrecoverable", {FRAMES[2]}),
    ],
)
def test_a_counter_that_is_off_by_one_is_found(
    session: tuple[list[Sent], Any, CaseResult], opened: Survey, counter: str, odd: set[str]
) -> None:
    _sent, _config, right = session
    case = right.model_copy(deep=True)
    case.ledgers["host_to_client"].counts[counter] += 1
    found = opinion(opened, case)
    assert {count.what for count in found.disagreements} == odd
    check = found.check()
    assert (check.name, check.passed) == (CHECK, False)
    assert all(name in check.measured for name in odd)


def test_a_packet_that_is_not_in_the_capture_is_found_too(
    session: tuple[list[Sent], Any, CaseResult], tmp_path: Path
) -> None:
    sent, _config, case = session
    found = opinion(survey(write(tmp_path / "client.pcapng", sent[:-1]), KEY), case)
    assert ALL[0] in {count.what for count in found.disagreements}


@pytest.mark.parametrize(
    ("change", "why", "broken"),
    [
        ({"missed": 3}, "missed 3 packets", False),
        ({"missed": None}, "does not say what it missed", True),
        ({"damage": "byte 5: cut"}, "byte 5: cut", True),
        ({"unread": True}, "not read to its end", False),
    ],
)
def test_a_capture_that_is_not_all_has_no_opinion(
    session: tuple[list[Sent], Any, CaseResult],
    opened: Survey,
    change: dict[str, Any],
    why: str,
    broken: bool,
) -> None:
    _sent, _config, case = session
    said = opinion(replace(opened, **change), case)
    assert said.counts == []
    assert why in said.left_out[0]
    # One that broke off is the harness's own fault; a machine that was too busy to capture all is not.
    assert bool(said.broken) is broken
    assert said.check().passed is not broken


@pytest.mark.parametrize(
    ("change", "why", "left"),
    [
        (({"kernel_dropped": 2, "packets_received": -2}, True), "had no room for 2 packets", ALL[:3]),
        (({"rejected_auth": 1}, True), "rejected 1 packets", ALL[:3]),
        (({}, False), "an end was lost or killed", ALL[:2]),
        (({"packets_late": 3}, True), "data shards: 3 packets came after", [*ALL, FRAMES[0]]),
    ],
)
def test_what_depends_on_more_than_what_arrived_is_left_out_and_named(
    session: tuple[list[Sent], Any, CaseResult],
    opened: Survey,
    change: tuple[dict[str, int], bool],
    why: str,
    left: list[str],
) -> None:
    _sent, _config, right = session
    counts, balances = change
    case = right.model_copy(deep=True)
    ledger = case.ledgers["host_to_client"]
    for name, more in counts.items():
        ledger.counts[name] = ledger.counts.get(name, 0) + more
    if not balances:
        ledger.balances = {}
    found = opinion(opened, case)
    assert found.disagreements == []
    assert [count.what for count in found.counts] == left
    assert any(why in reason for reason in found.left_out)


def test_a_case_whose_capture_contradicts_it_exits_5_and_shows_both_counts(
    session: tuple[list[Sent], Any, CaseResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial(dissect, capsys)
    sent, _config, right = session
    write(tmp_path / "client.pcapng", sent)
    (tmp_path / "case.json").write_text(right.model_dump_json())
    code, said = run(tmp_path, "--key", KEY.hex())
    assert code == 0
    assert said.count("agrees") == len(ALL + FRAMES)
    wrong = right.model_copy(deep=True)
    wrong.ledgers["host_to_client"].counts["packets_lost"] += 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "case.json").write_text(wrong.model_dump_json())
    code, said = run(tmp_path, "--against", other)
    assert code == 5
    assert "disagrees" in said
    assert "error[PF630] the capture contradicts the ledger: missing, but for the end: " in said
    code, said = run(tmp_path / "client.pcapng", "--against", other, "--json")
    assert code == 5
    document = json.loads(said[: said.rindex("}") + 1])
    assert document["ledger"]["agrees"] is False
    # A capture elsewhere belongs to no case.
    shutil.copy(tmp_path / "client.pcapng", tmp_path / "elsewhere.pcapng")
    code, said = run(tmp_path / "elsewhere.pcapng")
    assert (code, "agrees" in said) == (0, False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"CLIENT_TRAFFIC_SECR", "is no key log"),
        (b"\x7fELF\n\0", "is no key log"),
        (None, "cannot be read: No such file"),
        ("folder", "cannot be read: it is no regular file"),
    ],
    ids=["cut off by a full disk", "of something else", "missing", "a folder"],
)
def test_a_key_log_that_cannot_be_used_is_named_and_loses_nothing(
    content: bytes | str | None,
    why: str,
    session: tuple[list[Sent], Any, CaseResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It opens the case's capture, and says nothing against the case."""
    from harness.run import captured

    sent, _config, right = session
    case = right.model_copy(deep=True, update={"metrics": {"recovery": Metric(value=1.0, unit="fraction")}})
    write(tmp_path / "client.pcapng", sent)
    log = tmp_path / "keys.log"
    if content == "folder":
        log.mkdir()
    elif isinstance(content, bytes):
        log.write_bytes(content)
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    captured.judge(case, tmp_path, None, None, dumped=False)
    assert case.status is Status.PASSED
    assert case.metrics["recovery"].value == 1.0
    [check] = case.checks
    assert (check.passed, check.expected) == (True, f"{len(ALL)} counts"), "what is in clear is judged"
    words = f"not judged by capture: what is sealed: the key log {log} {why}".replace(
        f"the key log {log} is no", f"{log} is no"
    )
    assert words in check.detail
    run = RunResult(run_id="r", scenario="s", started="", cases=[case])
    conclude(run)
    assert [note.startswith(words) for note in run.notes] == [True]


def test_a_capture_that_cannot_be_read_is_one_that_broke_off(
    session: tuple[list[Sent], Any, CaseResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.run import captured

    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    case = session[2].model_copy(deep=True)
    captured.judge(case, tmp_path, None, None, dumped=False)
    assert case.status is Status.FAULT
    assert case.reason.startswith("the capture cannot be read: ")
    assert case.ledgers == session[2].ledgers
