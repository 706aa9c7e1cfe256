"""What a case's capture says of a stream between programs that keep no records: frames, FEC, pictures."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.results import CaseResult, Check, Ledger, PeerResult, Status
from harness.dissect import access_units, frames, streams
from harness.dissect.wires import Kind
from harness.peers.command import CommandPeer
from harness.run import captured, outside
from harness.scenario.foreign import PeerDescription
from harness.scenario.model import Session
from punktfunk import key_log
from punktfunk.core import _core
from punktfunk.errors import HarnessError
from punktfunk.media import EncoderConfig, TestCardSpec, open_producer, synthetic
from punktfunk.units import Bitrate, Mode
from tests.support.captures import DATA_PORT, KEY, Sent, Stream, gamestream, write

MODE = Mode(640, 360, 60)
LOSSY = {"backend": "tun", "capture": True, "down": {"loss": "8 %"}}
RIGHT = "recovery packets are what FEC makes of the data"
WHOLE = "every frame on the wire can be put together"
READ = "pictures on the wire can be decoded and their markers read"
SIZE = "pictures on the wire have the size that was asked for"
EACH = "every frame on the wire has its picture"


@pytest.fixture(autouse=True)
def _no_other_key_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(key_log.VARIABLE, raising=False)


@pytest.fixture(scope="module")
def card() -> list[bytes]:
    """Return six coded pictures of the test card."""
    producer = open_producer(
        TestCardSpec(), EncoderConfig(encoder="x264", mode=MODE, bitrate=Bitrate(5_000_000))
    )
    try:
        return [bytes(producer.produce().data) for _ in range(6)]
    finally:
        producer.close()


def spec(**more: object) -> Session:
    return Session.model_validate(
        {"media": {"source": "testcard", "mode": str(MODE)}, "link": {"backend": "tun", "capture": True}}
        | more
    )


def judged(
    folder: Path,
    sent: list[Sent],
    of: Session | None = None,
    *,
    key: bytes | None = KEY,
    dumped: bool = False,
) -> tuple[CaseResult, dict[str, Check]]:
    write(folder / "client.pcapng", sent)
    result = CaseResult(
        id="case",
        scenario="s",
        seed=1,
        protocol="punktfunk/1",
        backend="tun",
        status=Status.PASSED,
        peers={"host": PeerResult(program="host", ports=[DATA_PORT])},
        ledgers={"host_to_client": Ledger(counts={"delivered": len(sent)})},
        outside={"evidence": ["packets"]},
    )
    with captured.key_log_in(folder) as keys:
        if key is not None:
            keys.write_text(f"{key_log.RIKEY} {0:064x} {key.hex()}\n", encoding="ascii")
        captured.judge(result, folder, keys, of or spec(), dumped=dumped)
    return result, {check.name: check for check in result.checks}


WIRES: dict[str, Callable[[list[bytes]], Stream]] = {
    "punktfunk/1": lambda units: Stream(
        _core.StreamConfig(key=KEY), [len(unit) for unit in units], contents=units
    ),
    "gamestream": lambda units: gamestream(KEY, [len(unit) for unit in units], units),
}


@pytest.mark.parametrize("wire", WIRES)
def test_what_a_client_was_sent_is_judged_where_the_key_was_logged(
    wire: str, card: list[bytes], tmp_path: Path
) -> None:
    result, checks = judged(tmp_path, list(WIRES[wire](card).packets()))
    assert result.outside["evidence"] == ["packets", captured.EVIDENCE, captured.PICTURES]
    assert {RIGHT, WHOLE, READ, SIZE, EACH} <= checks.keys()
    assert all(check.passed for check in result.checks), result.checks
    assert result.outside["wire"]["frames"] == "6 seen, 6 whole, 0 of them by FEC"
    assert result.outside["wire"]["pictures"] == "6 frames named, 0 missing, 0 unreadable"
    assert (tmp_path / captured.VIDEO_NAME).read_bytes() == b"".join(card)
    assert result.metrics["wire_frames_whole"].value == 6


def test_what_fec_gives_back_is_counted_and_decoded(card: list[bytes], tmp_path: Path) -> None:
    stream = WIRES["gamestream"](card)
    # The first packet of each frame is lost, and of the last but one all but the second.
    sent = list(stream.packets(lambda frame, packet: 0 if packet == 0 or (frame == 4 and packet != 1) else 1))
    result, checks = judged(tmp_path, sent, spec(link=LOSSY))
    assert result.outside["wire"]["frames"].endswith("5 whole, 5 of them by FEC")
    assert result.metrics["wire_frames_repaired"].value == 5
    assert (tmp_path / captured.VIDEO_NAME).read_bytes() == b"".join(card[:4] + card[5:])
    assert WHOLE not in checks, "over a link that loses packets a frame may be lost"
    assert checks[READ].passed


def test_a_frame_that_is_lost_on_a_link_without_loss_fails(card: list[bytes], tmp_path: Path) -> None:
    # Of a frame without any packet nobody on the wire knows, and how many it has follows from its picture.
    sent = list(
        WIRES["gamestream"](card).packets(lambda frame, packet: 0 if frame == 2 and packet > 0 else 1)
    )
    _, checks = judged(tmp_path, sent)
    assert not checks[WHOLE].passed
    assert not checks[EACH].passed
    assert checks[RIGHT].passed


def test_a_host_whose_recovery_packets_are_wrong_fails(tmp_path: Path) -> None:
    sent = list(Stream(_core.StreamConfig(), [20_000] * 2).packets())
    last = sent[-1].payload
    sent[-1] = Sent(sent[-1].time_ns, True, last[:-1] + bytes([last[-1] ^ 1]))
    _, checks = judged(tmp_path, sent, dumped=True)
    assert not checks[RIGHT].passed
    assert checks[RIGHT].measured == "1 of 8 wrong"
    assert checks[WHOLE].passed, "its data came"


def test_what_is_too_much_to_put_together_is_left_out_and_said(
    card: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = list(WIRES["punktfunk/1"](card).packets())
    result, _ = judged(tmp_path, sent)
    assert "left out" not in result.outside["wire"]
    with monkeypatch.context() as less:
        less.setattr(access_units, "_fec_bytes", lambda _stream, _frame: 1)
        less.setattr(access_units, "MAX_FEC_BYTES", 1)
        result, checks = judged(tmp_path, sent)
    assert result.outside["wire"]["left out"].startswith("0 packets and 5 frames, which were counted")
    assert result.outside["wire"]["frames"].startswith("6 seen, 6 whole")
    assert (tmp_path / captured.VIDEO_NAME).read_bytes() == card[0]
    assert checks[RIGHT].passed
    monkeypatch.setattr(access_units, "MAX_KEPT_BYTES", 0)
    result, _ = judged(tmp_path, sent)
    assert result.outside["wire"]["left out"].startswith(f"{len(sent)} packets and 0 frames")


def test_a_packet_that_says_that_its_frame_is_much_work_counts_as_that() -> None:
    """One data packet, and a header that says there are tens of thousands of recovery packets to compare."""
    stream = streams.Stream(1, ("::1", 1), ("::1", 2), Kind.PLAIN, shard_bytes=1200, scheme=1)
    for number, came in ((5, 0), (6, 1)):
        stream.frames[number] = frames.Frame(number, 1, 1200)
        stream.frames[number].add(frames.Shard(number, 0, 1, came, 2 - number % 2, 65_000, 1200), 0)
    assert access_units._fec_bytes(stream, 5) == 65_001 * 1200
    assert access_units._fec_bytes(stream, 6) == 0, "too little of it came for any work"
    assert access_units._fec_bytes(stream, 7) == 0


@pytest.mark.parametrize(
    ("status", "said", "loss", "failed"),
    [
        (0, False, "8 %", False),
        (1, True, "8 %", False),
        (1, False, "8 %", True),
        (1, True, "0 %", True),
        (139, True, "8 %", True),
    ],
)
def test_a_strict_client_fails_by_its_own_strictness_alone_and_not_by_a_signal(
    status: int, said: bool, loss: str, failed: bool
) -> None:
    class Ended(CommandPeer):
        """One that has ended by itself."""

        def __init__(self) -> None:
            pass

        def stop(self) -> int:
            return status

        def says_incomplete(self) -> bool:
            return said

    assert outside.fails(Ended(), spec(link={"backend": "tun", "down": {"loss": loss}})) is failed


def test_pictures_of_another_size_than_was_asked_for_fail(card: list[bytes], tmp_path: Path) -> None:
    _, checks = judged(
        tmp_path,
        list(WIRES["punktfunk/1"](card).packets()),
        spec(media={"source": "testcard", "mode": "848x480@60"}),
    )
    assert not checks[SIZE].passed
    assert checks[SIZE].measured == "640x360"


def test_a_client_that_left_its_own_video_is_judged_by_that(card: list[bytes], tmp_path: Path) -> None:
    result, checks = judged(tmp_path, list(WIRES["punktfunk/1"](card).packets()), dumped=True)
    assert result.outside["evidence"] == ["packets", captured.EVIDENCE]
    assert READ not in checks
    assert not (tmp_path / captured.VIDEO_NAME).exists()


def test_frames_of_the_synthetic_source_are_held_against_their_numbers(tmp_path: Path) -> None:
    host = PeerDescription.model_validate(
        {
            "name": "h",
            "role": "host",
            "command": ["h"],
            "ready": {"listens": "udp"},
            "synthetic": True,
        }
    )
    of = spec().model_copy(update={"host": host})
    units = [synthetic.test_frame(number, 20_000) for number in range(4)]
    for name, spoilt, wrong in (("right", b"", 0), ("wrong", b"?", 1)):
        folder = tmp_path / name
        folder.mkdir()
        units[2] = units[2][: len(units[2]) - len(spoilt)] + spoilt
        sent = list(WIRES["punktfunk/1"](units).packets(lambda _frame, packet: int(packet > 0)))
        result, checks = judged(folder, sent, of)
        assert checks["every whole frame has the bytes of its number"].measured == f"{wrong} of 4 wrong"
        assert checks["every whole frame has the bytes of its number"].passed is (wrong == 0)
        assert result.outside["wire"]["frames"] == "4 seen, 4 whole, 4 of them by FEC"
        assert result.outside["evidence"] == ["packets", captured.EVIDENCE]


def test_without_a_key_it_is_said_that_frames_are_unknown(card: list[bytes], tmp_path: Path) -> None:
    sent = list(WIRES["punktfunk/1"](card).packets())
    result, checks = judged(tmp_path, sent, key=None)
    assert result.outside["evidence"] == ["packets"]
    assert result.outside["wire"] == {"frames": f"unknown: {len(sent)} sealed; neither end logged its key"}
    assert not {RIGHT, WHOLE, READ} & checks.keys()
    assert "wire_frames" not in result.metrics


def test_a_killed_host_may_leave_its_last_frame_unfinished(card: list[bytes], tmp_path: Path) -> None:
    sent = list(WIRES["punktfunk/1"](card).packets())[:-9]
    _, checks = judged(tmp_path, sent, spec(events=[{"at": "1 s", "kill": "host"}]))
    assert not {WHOLE, EACH} & checks.keys()


def test_a_count_that_contradicts_the_link_is_a_fault_and_nothing_else_is_judged(
    card: list[bytes], tmp_path: Path
) -> None:
    sent = list(WIRES["punktfunk/1"](card).packets())
    write(tmp_path / "client.pcapng", sent)
    result, _ = judged(tmp_path, sent)
    assert result.status is Status.PASSED
    result.ledgers["host_to_client"].counts["delivered"] += 1
    result.checks.clear()
    captured.judge(result, tmp_path, None, spec(), dumped=False)
    assert result.status is Status.FAULT
    assert [check.name for check in result.checks] == ["the capture agrees with the ledger"]


def test_the_key_log_is_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with captured.key_log_in(tmp_path) as made:
        assert made == tmp_path / captured.KEYS_NAME
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert not made.exists()
    with pytest.raises(HarnessError), captured.key_log_in(tmp_path) as made:
        raise HarnessError("a case that fails")
    assert not made.exists()


def test_a_key_log_that_somebody_asked_for_is_used_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked.log"
    asked.touch()
    monkeypatch.setenv(key_log.VARIABLE, str(asked))
    with captured.key_log_in(tmp_path / "case") as used:
        assert used == asked
    assert asked.exists()
