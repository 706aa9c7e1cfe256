"""``punktfunk-lab dissect`` as a user meets it: keys, streams, damage, and a ledger that the capture contradicts."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.analysis.results import CaseResult, Ledger, Metric, PeerResult, RunResult, Status
from harness.dissect.keys import Keys
from harness.dissect.reading import Reading, Survey
from harness.dissect.second_opinion import CHECK, opinion
from harness.run.verdict import conclude
from punktfunk.core import _core
from tests.support import recorded_session
from tests.support.captures import BEGAN_NS, DATA_PORT, KEY, Sent, Stream, gamestream, write

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command and gives its exit code and all that it says."""

    def command(*words: object) -> tuple[int, str]:
        code = cli.main(["dissect", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


def survey(path: Path, *keys: bytes) -> Survey:
    given = Keys()
    for key in keys:
        given.name(key.hex())
    return Reading(path, given).read()


CONFIGS = {
    "punktfunk/1 sealed": lambda: Stream(_core.StreamConfig(key=KEY), [90_000, 1_000, 20_000, 0, 5_000]),
    "punktfunk/1 plain": lambda: Stream(
        _core.StreamConfig(scheme="gf8", max_block_shards=40), [90_000, 1_000]
    ),
    "GameStream encrypted": lambda: gamestream(KEY, [300_000, 1_000, 20_000]),
    "GameStream video": lambda: gamestream(None, [300_000, 1_000]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_wire_is_read_to_its_access_units(kind: str, tmp_path: Path) -> None:
    from harness.dissect.rebuild import FramePackets

    made = CONFIGS[kind]()
    # Of each frame the first packet and another one are lost, which FEC gives back.
    path = write(tmp_path / "a.pcapng", made.packets(lambda _frame, packet: packet not in (0, 7)))
    keys = Keys()
    keys.name(KEY.hex())
    reading = Reading(path, keys)
    first = reading.read()
    [stream] = first.streams
    assert str(stream.kind) == kind
    assert len(stream.frames) == len(made.sizes)
    assert all(frame.whole for frame in stream.frames.values())
    assert first.received[1].counters["frames_complete"] == len(made.sizes)
    for at, unit in enumerate(made.units):
        kept = FramePackets(1, made.first_frame + at)
        stream = next(iter(reading.read(kept.see).streams))
        blocks = kept.blocks(stream)
        assert kept.access_unit(stream, blocks) == unit, at
        assert not any(found.contradicting for found in blocks.values())


def test_without_its_key_the_packets_of_a_stream_are_counted_and_with_another_one_too(tmp_path: Path) -> None:
    made = Stream(_core.StreamConfig(key=KEY), [20_000] * 3)
    path = write(
        tmp_path / "a.pcapng", made.packets(lambda frame, packet: (0, 1, 2)[min(packet, 2)] if frame else 1)
    )
    for keys in ((), (b"\1" * 16,)):
        [stream] = survey(path, *keys).streams
        assert not stream.readable
        assert stream.unread == {"sealed": stream.packets}
        assert (stream.numbers.missing, stream.numbers.duplicates) == (2, 2 * 19)


def test_a_packet_that_was_changed_does_not_authenticate_and_counts_for_nothing(tmp_path: Path) -> None:
    sent = list(Stream(_core.StreamConfig(key=KEY), [20_000]).packets())
    sent[3] = Sent(sent[3].time_ns, True, sent[3].payload[:-1] + bytes([sent[3].payload[-1] ^ 1]))
    found = survey(write(tmp_path / "a.pcapng", sent), KEY)
    [stream] = found.streams
    assert stream.unread == {"does not authenticate": 1}
    assert (stream.numbers.missing, stream.frames[0].data, stream.frames[0].rebuilt) == (1, 16, 1)
    assert found.received[1].counters["rejected_auth"] == 1


def test_a_shard_that_fec_would_not_have_made_is_told_apart(tmp_path: Path, run: Run) -> None:
    sent = list(Stream(_core.StreamConfig(), [20_000]).packets())
    last = sent[-1].payload
    sent[-1] = Sent(sent[-1].time_ns, True, last[:-1] + bytes([last[-1] ^ 1]))
    code, said = run(write(tmp_path / "a.pcapng", sent), "--frame", 0)
    assert code == 0
    assert "3 of 4 recovery shards agree with the data" in said


def test_late_packets_are_what_the_core_calls_late(tmp_path: Path, run: Run) -> None:
    sent = list(Stream(_core.StreamConfig(), [20_000] * 3).packets())
    of_first = [packet for packet in sent if packet.time_ns < BEGAN_NS + 10_000_000]
    # Six of the first frame's packets come when its turn, the reorder window behind a later whole frame, is over.
    late = [Sent(BEGAN_NS + 200_000_000, True, packet.payload) for packet in of_first[:6]]
    path = write(tmp_path / "a.pcapng", [*sent[6:], *late])
    code, said = run(path, "--filter", "late")
    assert code == 0
    assert said.count("late: turn over") == 6
    code, said = run(path)
    assert "3 whole" in said, "by the count of shards"
    assert "2 complete (0 decodable), 1 too late, 0 lost" in said


def test_a_receiver_that_waits_longer_has_late_packets_in_time(tmp_path: Path, run: Run) -> None:
    sent = list(Stream(_core.StreamConfig(), [20_000] * 3).packets())
    of_first = [packet for packet in sent if packet.time_ns < BEGAN_NS + 10_000_000]
    late = [Sent(BEGAN_NS + 70_000_000, True, packet.payload) for packet in of_first[:6]]
    path = write(tmp_path / "a.pcapng", [*sent[6:], *late])
    code, said = run(path)
    assert (code, "2 complete (0 decodable), 1 too late, 0 lost" in said) == (0, True), said
    code, said = run(path, "--reorder-window", "100 ms")
    assert (code, "3 complete (3 decodable), 0 too late, 0 lost" in said) == (0, True), said
    # A capture in the folder of a case has the window of that case.
    path = path.rename(tmp_path / "client.pcapng")
    windows = [({"reorder_window": said}, 2) for said in ("soon", ["100 ms"], "\x1b[2J" * 100_000, None)]
    for stream, complete in (({"reorder_window": "100 ms"}, 3), *windows, ({}, 2), ([], 2)):
        (tmp_path / "spec.json").write_text(json.dumps({"spec": {"stream": stream}}))
        code, said = run(path)
        assert (code, f"{complete} complete (" in said) == (0, True), said
    for wrong, words in (("2 min", "no receiver waits 2 min"), ("soon", "'soon' is not a duration")):
        code, said = run(path, "--reorder-window", wrong)
        assert (code, words in said) == (2, True), said


def test_a_capture_that_begins_in_mid_stream_has_lost_nothing_of_what_was_before(tmp_path: Path) -> None:
    sent = [
        p for p in Stream(_core.StreamConfig(), [20_000] * 400).packets() if p.time_ns > BEGAN_NS + 5 * 10**9
    ]
    found = survey(write(tmp_path / "a.pcapng", sent))
    [stream] = found.streams
    assert stream.numbers.missing == 0
    counters = found.received[1].counters
    assert (counters["packets_lost"], counters["frames_complete"]) == (0, len(stream.frames))
    assert counters["frames_unrecoverable"] == 0


def test_damage_cuts_and_strange_packets_are_said_and_the_rest_is_shown(tmp_path: Path, run: Run) -> None:
    sent = list(Stream(_core.StreamConfig(), [20_000]).packets())
    sent[2].spoilt = True
    path = write(tmp_path / "a.pcapng", sent, missed=3)
    path.write_bytes(path.read_bytes()[:-200])
    code, said = run(path)
    assert code == 0
    assert "the file is malformed or cut off: byte " in said
    assert "wrong checksums: 1 in stream 1; no socket gets these" in said
    assert "frames 0 to 0, 1 seen; 1 whole, of which 1 by FEC (1 data shards rebuilt)" in said
    code, said = run(path, "--ignore-checksums")
    assert "wrong checksums" not in said
    code, said = run(path, "--max-packets", 5)
    assert "only the first 5 packets were read" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.pcapng"], ("cannot be read: No such file", "name a .pcap or .pcapng file")),
        (["a.pcapng", "--key", "xyz"], ("32 hexadecimal digits", "key log is given with --keys")),
        (["a.pcapng", "--keys", "a.pcapng"], ("is no key log", "SSLKEYLOGFILE")),
        (["a.pcapng", "--frame", "7"], ("no packet of frame 7", "stream 1 has frames 0 to 0")),
        (["a.pcapng", "--stream", "4"], ("no stream 4 of video", "it has: 1")),
        (["a.pcapng", "--filter", "frame =="], ("cannot be read", "frame == 42")),
    ],
)
def test_what_is_asked_for_wrongly_is_a_usage_error_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, words: list[str], said: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pcapng", Stream(_core.StreamConfig(), [2_000]).packets())
    code, text = run(*words)
    assert code == 2
    assert all(part in text for part in said), text


def test_no_secret_of_a_session_is_shown(tmp_path: Path, run: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        recorded_session.record(tmp_path, patch)
    keys = (tmp_path / "keys.log").read_text()
    secrets = {line.split()[2] for line in keys.splitlines()} | {KEY.hex()}
    assert len(secrets) > 4
    for words in ([], ["--packets", "--limit", "2000"], ["--frame", "0"]):
        code, said = run(tmp_path / "client.pcapng", "--keys", tmp_path / "keys.log", *words)
        assert code == 0
        assert not [secret for secret in secrets if secret in said], words


def test_a_packet_that_was_captured_in_part_is_cut_and_not_forged(tmp_path: Path, run: Run) -> None:
    [sent, *_others] = Stream(_core.StreamConfig(key=KEY), [2_000]).packets()
    packet = sent.packet()
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 101)
    path = tmp_path / "a.pcap"
    path.write_bytes(head + struct.pack("<IIII", 1, 0, 96, len(packet)) + packet[:96])
    [stream] = survey(path, KEY).streams
    assert (stream.numbers.distinct, dict(stream.unread)) == (1, {"sealed": 1})
    code, said = run(path, "--packets", "--key", KEY.hex())
    assert (code, "cut to 68 bytes" in said, "authenticate" in said) == (0, True, False)


def test_each_datagram_of_a_handshake_is_read(tmp_path: Path, run: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        recorded_session.record(tmp_path, patch)
    code, said = run(tmp_path / "client.pcapng", "--packets", "--limit", "17", "-k", "kind == QUIC")
    assert (code, "Initial: ClientHello" in said, "ServerHello" in said) == (0, True, True)
    assert "malformed" not in said


@pytest.mark.parametrize(
    ("wire", "from_host", "said"),
    [
        (
            "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe",
            False,
            "reliable IDR request",
        ),
        ("010019002c0100004e6561fe006c71e003b9307b2f93b4017f26c0c1fb", False, "reliable start B"),
        (
            "01002200000000000060e7ba17f11a7d3ce7c8078049503df0dd40da4f38e822c98f9186a90a",
            True,
            "reliable rumble",
        ),
    ],
    ids=["V2", "older form", "of the host"],
)
def test_control_messages_of_gamestream_open_with_the_sessions_key_once_each(
    tmp_path: Path, run: Run, wire: str, from_host: bool, said: str
) -> None:
    message = bytes.fromhex(wire)
    datagram = bytes.fromhex("80000000" + "86000001") + len(message).to_bytes(2, "big") + message
    path = write(
        tmp_path / "a.pcapng", [Sent(BEGAN_NS + n, from_host, datagram, control=True) for n in range(2)]
    )
    code, text = run(path, "--packets")
    assert (code, text.count("reliable GameStream control, encrypted type=0x1")) == (0, 2)
    code, text = run(path, "--packets", "--key", KEY.hex())
    # The second one was there before, which no receiver takes.
    assert (code, text.count(said), text.count("reliable GameStream control, encrypted")) == (0, 1, 1)


def test_a_key_log_inside_a_capture_opens_it(tmp_path: Path, run: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        recorded_session.record(tmp_path, patch)
    path, text = tmp_path / "client.pcapng", (tmp_path / "keys.log").read_bytes()
    # A Decryption Secrets Block between the section and its interface, as editcap --inject-secrets writes it.
    body = struct.pack("<II", 0x544C534B, len(text)) + text + bytes(-len(text) % 4)
    block = struct.pack("<II", 10, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
    content = path.read_bytes()
    path.write_bytes(content[:28] + block + content[28:])
    code, said = run(path)
    assert code == 0
    assert "stream 3: frames 0 to 23, 24 seen; 23 whole" in said


OTHER_SECRETS = f"CLIENT_TRAFFIC_SECRET_0 {1:064x} {2:064x}\nSERVER_TRAFFIC_SECRET_0 {1:064x} {3:064x}\n"
BEFORE = "stays closed: it began before the capture did, and no secret of a key log opens what is there"
BEGINS = {
    "with the client's hello": 0,
    "with the host's hello": 1,
    "after the handshake": 2,
    "after the first message": 3,
}


def begun(sent: list[Sent], stage: int) -> list[Sent]:
    """Return the packets of a capture that begins at a stage of :data:`BEGINS`."""
    if stage == 1:
        return sent[next(at for at, packet in enumerate(sent) if packet.from_host) :]
    short = [packet for packet in sent if not packet.control or packet.payload[0] & 0xC0 == 0x40]
    from_client = [packet for packet in short if packet.control and not packet.from_host]
    return [sent, sent, short, [packet for packet in short if packet not in from_client[:2]]][stage]


@pytest.mark.parametrize("stage", BEGINS.values(), ids=BEGINS)
def test_quic_that_began_before_the_capture_is_opened_by_the_secret_that_fits(
    stage: int, tmp_path: Path, run: Run
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sent = recorded_session.record(tmp_path, patch)
    path = write(tmp_path / "later.pcapng", begun(sent, stage))
    keys = tmp_path / "keys.log"
    keys.write_text(OTHER_SECRETS + keys.read_text())
    code, said = run(path, "--keys", keys)
    assert code == 0
    assert "stays closed" not in said, said
    assert "x=-12 y=34" in said, "what is said in datagrams is known from any of them"
    assert ("Hello version=2" in said) is (stage < 3), "a control stream is read from its beginning"
    code, said = run(path, "--keys", keys, "--filter", "stream < 3", "--limit", "100")
    assert ("STREAM 0, whose beginning is not in the capture" in said) is (stage == 3)
    assert "close 0x0 done" in said
    code, said = run(path, "--json")
    found = [
        stream["stays_closed"]
        for stream in json.loads(said)["streams"]
        if stream["kind"] != "punktfunk/1 sealed"
    ]
    assert found == ["it began before the capture did" if stage else ""] * 2, "without a key log"
    other = tmp_path / "other.log"
    other.write_text(OTHER_SECRETS)
    code, said = run(path, "--keys", other)
    assert (f"QUIC of stream 1, 2 {BEFORE}" in said) is bool(stage), said


def test_quic_of_which_the_key_log_has_no_secrets_is_said_to_stay_closed(tmp_path: Path, run: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        recorded_session.record(tmp_path, patch)
    other = tmp_path / "other.log"
    other.write_text(OTHER_SECRETS)
    code, said = run(tmp_path / "client.pcapng", "--keys", other)
    assert (code, "QUIC of stream 1, 2 stays closed: the key log has no secrets of it" in said) == (
        0,
        True,
    ), said
    code, said = run(tmp_path / "client.pcapng")
    assert "stays closed" not in said, "without a key log nobody asked for it"


# --- the second opinion --------------------------------------------------------------------------------


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
    session: tuple[list[Sent], Any, CaseResult], tmp_path: Path, run: Run
) -> None:
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
