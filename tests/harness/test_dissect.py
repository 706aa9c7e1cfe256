"""``punktfunk-lab dissect`` as a user meets it: keys, streams and damage."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harness.dissect.keys import Keys
from harness.dissect.reading import Reading
from punktfunk.core import _core
from tests.support import recorded_session
from tests.support.captures import BEGAN_NS, KEY, Sent, Stream, dissect, gamestream, survey, write

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command and gives its exit code and all that it says."""
    return partial(dissect, capsys)


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
