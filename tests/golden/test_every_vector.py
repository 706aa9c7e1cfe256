"""Every line of the recorded vectors is held against the code; a line that no test reads is an error.

``test_fec_vectors.py`` has digests, packets and geometry; here are the other lines: control messages, input,
audio and feedback, headers, single shards, coefficients, and the pairing of punktfunk/1 section 6.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import spake2
from spake2 import SPAKE2_A, SPAKE2_B
from spake2.parameters.ed25519 import ParamsEd25519

from punktfunk.core import FecScheme, _core
from punktfunk.errors import PairingError
from punktfunk.input import (
    InputEvent,
    InputKind,
    Lightbar,
    Motion,
    PlayerLeds,
    Rumble,
    SurfaceSize,
    Touchpad,
    TriggerEffect,
)
from punktfunk.native import messages, pairing
from punktfunk.native.datagrams import Audio, Datagram, encode
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest

VECTORS = Path(__file__).parent / "vectors"
CLIENT_FP, HOST_FP = b"\x11" * 32, b"\x22" * 32


def lines(name: str) -> list[str]:
    return (VECTORS / name).read_text().splitlines()


MODE = WireMode(1280, 720, 60)
FULL_HD = WireMode(1920, 1080, 144)
CONTROL = {
    "Hello   framed": Hello(mode=MODE).encode(),
    "Welcome framed": Welcome(mode=MODE, udp_port=50000, key=bytes(range(16)), frames=300).encode(),
    "Start   framed": Start(40000).encode(),
    "Reconfigure  framed": messages.Reconfigure(1920, 1080, 144).encode(),
    "Reconfigured framed": messages.Reconfigured.of(True, FULL_HD).encode(),
}
DATAGRAMS: dict[str, Datagram] = {
    "input MouseMove(-12,34,flags=0xABCD)": InputEvent(
        InputKind.MOUSE_MOVE, 0, -12, 34, SurfaceSize(0, 0xABCD)
    ),
    "audio seq=7 pts=1000000123 opus=aabb": Audio(7, 1_000_000_123, b"\xaa\xbb"),
    "rumble pad=1 low=0x1234 high=0xffff": Rumble(1, 0x1234, 0xFFFF),
    "rich touchpad pad=1 finger=0 active x=40000 y=12345": Touchpad(1, 0, True, 40000, 12345),
    "rich motion pad=0 gyro=-100,200,-300 accel=16384,-8192,1": Motion(
        0, (-100, 200, -300), (16384, -8192, 1)
    ),
}


def wire(label: str) -> str:
    [line] = [line for line in lines("wire_vectors.txt") if line.startswith(f"{label} ")]
    return line[len(label) + 1 :].split()[0]


@pytest.mark.parametrize("label", CONTROL)
def test_control_messages_are_the_recorded_bytes(label: str) -> None:
    assert frame(CONTROL[label]).hex() == wire(label)


@pytest.mark.parametrize("label", DATAGRAMS)
def test_datagrams_are_the_recorded_bytes(label: str) -> None:
    assert encode(DATAGRAMS[label]).hex() == wire(label)


def test_hid_output_is_the_recorded_bytes() -> None:
    effect = TriggerEffect(1, 1, bytes.fromhex("2690a0ff0000"))
    led, player, trigger = (
        encode(one).hex() for one in (Lightbar(2, 0xAA, 0xBB, 0xCC), PlayerLeds(0, 0x15), effect)
    )
    assert f"hid led {led} player {player} trigger {trigger}" in lines("wire_vectors.txt")


@pytest.mark.parametrize("at", [54, 65], ids=["last data packet", "last packet"])
def test_the_headers_at_the_end_of_a_frame_are_the_recorded_bytes(at: int) -> None:
    access_unit = bytes(4) + bytes(i & 255 for i in range(4, 65536))
    packets = _core.packetize(_core.StreamConfig(key=None, salt=b"pkf1"), access_unit, 0, 5, 0, 0)
    assert any(line.endswith(f"{at} header {packets[at][:40].hex()}") for line in lines("wire_vectors.txt"))


def recorded_shards(name: str, mark: str) -> Iterator[tuple[int, int, int, int, str]]:
    """Yield k, m, bytes, row and hex of every recovery shard or coefficient row that is written out."""
    shape = (0, 0, 0)
    for line in lines(name):
        if head := re.match(r"k=(\d+) m=(\d+) bytes=(\d+) ", line):
            shape = int(head[1]), int(head[2]), int(head[3])
        elif row := re.fullmatch(rf"   {mark}\[?(\d+)\]? ([0-9a-f]+)", line):
            yield *shape, int(row[1]), row[2]


SHARDS: list[tuple[FecScheme, int, int, int, int, str]] = [
    *(("gf8", *row) for row in recorded_shards("gf8_vectors.txt", "P")),
    *(("gf16", *row) for row in recorded_shards("gf16_vectors.txt", "R")),
]


@pytest.mark.parametrize("recorded", SHARDS, ids=lambda one: "-".join(map(str, one[:5])))
def test_each_recovery_shard_is_the_recorded_one(recorded: tuple[FecScheme, int, int, int, int, str]) -> None:
    scheme, k, m, size, row, shard = recorded
    data = [bytes((31 * i + 7 * b) & 255 for b in range(size)) for i in range(k)]
    assert _core.fec_encode(scheme, data, m)[row].hex() == shard


@pytest.mark.parametrize(
    ("k", "m", "size", "row", "coefficients"), list(recorded_shards("gf8_vectors.txt", "M"))
)
def test_gf8_coefficients_are_the_recorded_ones(
    k: int, m: int, size: int, row: int, coefficients: str
) -> None:
    # The recovery of a unit vector is a column of the matrix.
    columns = [
        _core.fec_encode("gf8", [bytes([i == at]) * size for i in range(k)], m)[row] for at in range(k)
    ]
    assert bytes(column[0] for column in columns).hex() == coefficients


def test_gf8_recovers_the_four_bytes_of_the_first_line() -> None:
    assert lines("gf8_vectors.txt")[0] == "[10],[20],[30],[40], m=2 -> [136, 0]"
    assert _core.fec_encode("gf8", [bytes([10 * n]) for n in range(1, 5)], 2) == [b"\x88", b"\x00"]


def pairing_vector(label: str) -> str:
    value = re.compile(rf"{re.escape(label)} (\S+(?: 0x[0-9a-f]+)?)")
    [found] = [found for line in lines("spake2_vector.txt") if (found := value.fullmatch(line))]
    return found[1]


class Entropy:
    """The vector's "randomness": one byte, over and over."""

    def __init__(self, byte: int) -> None:
        self.byte = byte

    def __call__(self, count: int) -> bytes:
        return bytes([self.byte]) * count


def ceremony(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        spake2, "SPAKE2_A", lambda *a, **k: SPAKE2_A(*a, **k, entropy_f=Entropy(1)), raising=True
    )
    monkeypatch.setattr(
        spake2, "SPAKE2_B", lambda *a, **k: SPAKE2_B(*a, **k, entropy_f=Entropy(2)), raising=True
    )


def test_our_ceremonies_speak_the_recorded_pairing(monkeypatch: pytest.MonkeyPatch) -> None:
    ceremony(monkeypatch)
    client = pairing.ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
    host = pairing.HostCeremony("4321", CLIENT_FP, HOST_FP)
    request = client.request()
    assert request.spake.hex() == pairing_vector("msgA")
    challenge = host.challenge(request)
    assert challenge.spake.hex() == pairing_vector("msgB")
    assert challenge.mac.hex() == pairing_vector("punktfunk-pair-host")
    proof = client.prove(challenge)
    assert proof.mac.hex() == pairing_vector("punktfunk-pair-client")
    assert host.verify(proof).ok == 1


def test_each_ceremony_takes_the_other_sides_recorded_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    ceremony(monkeypatch)
    client = pairing.ClientCeremony("4321", CLIENT_FP, HOST_FP, "laptop")
    client.request()
    recorded = PairChallenge(
        bytes.fromhex(pairing_vector("msgB")), bytes.fromhex(pairing_vector("punktfunk-pair-host"))
    )
    assert client.prove(recorded).mac.hex() == pairing_vector("punktfunk-pair-client")
    host = pairing.HostCeremony("4321", CLIENT_FP, HOST_FP)
    host.challenge(PairRequest("laptop", bytes.fromhex(pairing_vector("msgA"))))
    assert host.verify(PairProof(bytes.fromhex(pairing_vector("punktfunk-pair-client")))).ok == 1


def test_the_recorded_challenge_is_refused_under_another_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    ceremony(monkeypatch)
    client = pairing.ClientCeremony("0000", CLIENT_FP, HOST_FP, "laptop")
    client.request()
    recorded = PairChallenge(
        bytes.fromhex(pairing_vector("msgB")), bytes.fromhex(pairing_vector("punktfunk-pair-host"))
    )
    with pytest.raises(PairingError, match="wrong PIN"):
        client.prove(recorded)


def test_the_group_its_points_scalars_and_keys_are_the_recorded_ones() -> None:
    a = SPAKE2_A(b"4321", idA=CLIENT_FP, idB=HOST_FP, entropy_f=Entropy(1))
    b = SPAKE2_B(b"4321", idA=CLIENT_FP, idB=HOST_FP, entropy_f=Entropy(2))
    a.start()
    message_b = b.start()
    assert ParamsEd25519.M.to_bytes().hex() == pairing_vector("M")
    assert ParamsEd25519.N.to_bytes().hex() == pairing_vector("N")
    assert str(ParamsEd25519.group.order()) == pairing_vector("order")
    assert f"{a.pw_scalar} {a.pw_scalar:#x}" == pairing_vector("pw_scalar")
    assert (f"{a.xy_scalar:#x}", f"{b.xy_scalar:#x}") == (pairing_vector("xa"), pairing_vector("xb"))
    assert a.finish(message_b).hex() == pairing_vector("K")
    wrong = SPAKE2_A(b"0000", idA=CLIENT_FP, idB=HOST_FP, entropy_f=Entropy(1))
    wrong.start()
    assert wrong.finish(message_b).hex() == pairing_vector("K wrong pin on A side")


READ = {
    # Which lines some test reads, by their beginning.
    "wire_vectors.txt": [
        *CONTROL,
        *DATAGRAMS,
        "hid led ",
        "-- ",  # headings
        "frame ",
        *(f"{kind}{number} " for kind in ("plain", "wire") for number in range(3)),
        "client->host seal of input MouseMove seq 0: ",
        "66 packets, plain sha256 ",
        "wire sha256 ",
        "last data packet 54 header ",
        "last packet 65 header ",
        "geometry",
    ],
    "gf8_vectors.txt": ["[10],", "k=", "   M[", "   P"],
    # The first line shows inner tables; every other line depends on them.
    "gf16_vectors.txt": ["skew[0..8] ", "k=", "   R"],
    "spake2_vector.txt": [
        *("M ", "N ", "order ", "pw_scalar ", "xa ", "xb ", "msgA ", "msgB ", "K "),
        *("punktfunk-pair-host ", "punktfunk-pair-client "),
    ],
}
SHA256 = {
    "wire_vectors.txt": "176bcbb46833f1581038966fcb345216bd63e53488cddf756aa6c09e9b8e67df",
    "gf8_vectors.txt": "1580420b0148a4fd848a4abf27ecdf6f93d708a01041ef611d0cf56ea5311f1a",
    "gf16_vectors.txt": "0e6b47ff5d8cce8b142d36361a0b6d1d89546b2f1c19af46aa545950b4e0e03c",
    "spake2_vector.txt": "497778bfff4d2c7367923cc442cb5df5ded65a9c60f0e72a66ace28dc5cddd97",
}


@pytest.mark.parametrize("name", READ)
def test_no_line_of_the_vectors_is_left_out(name: str) -> None:
    unread = [line for line in lines(name) if not line.startswith(tuple(READ[name]))]
    assert unread == []
    assert len(SHARDS) == 1 + 2 + 4 + 1 + 2 + 4 + 3 + 9 + 3 + 2 + 2 + 5


@pytest.mark.parametrize("name", SHA256)
def test_the_vectors_are_those_that_were_published(name: str) -> None:
    assert hashlib.sha256((VECTORS / name).read_bytes()).hexdigest() == SHA256[name]
