"""The compiled core reproduces the specification's bytes: FEC, packets, sealed packets, geometry."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from punktfunk.core import _core

VECTORS = Path(__file__).parent / "vectors"
KEY, SALT = bytes(range(16)), b"pkf1"


def pattern(count: int, size: int) -> list[bytes]:
    """Byte b of shard i is 31 i + 7 b (punktfunk/1 section 5.1)."""
    return [bytes((31 * i + 7 * b) & 255 for b in range(size)) for i in range(count)]


def recorded(name: str) -> list[tuple[int, int, int, str]]:
    text = (VECTORS / name).read_text()
    found = re.findall(r"^k=(\d+) m=(\d+) bytes=(\d+) .*?sha256\([a-z ]*\)=([0-9a-f]{64})", text, re.M)
    return [(int(k), int(m), int(size), digest) for k, m, size, digest in found]


def wire(label: str) -> str:
    for line in (VECTORS / "wire_vectors.txt").read_text().splitlines():
        if line.startswith(label):
            return line[len(label) :].strip()
    raise AssertionError(label)


@pytest.mark.parametrize(("k", "m", "size", "digest"), recorded("gf8_vectors.txt"))
def test_gf8_recovery_shards_have_the_recorded_digest(k: int, m: int, size: int, digest: str) -> None:
    parity = _core.fec_encode("gf8", pattern(k, size), m)
    assert hashlib.sha256(b"".join(parity)).hexdigest() == digest


@pytest.mark.parametrize(("k", "m", "size", "digest"), recorded("gf16_vectors.txt"))
def test_gf16_recovery_shards_have_the_recorded_digest(k: int, m: int, size: int, digest: str) -> None:
    parity = _core.fec_encode("gf16", pattern(k, size), m)
    assert hashlib.sha256(b"".join(parity)).hexdigest() == digest


def test_both_vector_files_were_read() -> None:
    assert len(recorded("gf8_vectors.txt")) == 8
    assert len(recorded("gf16_vectors.txt")) == 14


def test_gf8_is_the_code_of_the_gamestream_wire() -> None:
    blocks = (VECTORS / "reed_solomon.txt").read_text().split("== ")[1:]
    checked = 0
    for block in blocks:
        head = re.match(r"k=(\d+) m=(\d+) bs=(\d+) VIDEO", block)
        data = [bytes.fromhex(h) for h in re.findall(r"^D\[\d+\] ([0-9a-f]+)", block, re.M)]
        parity = [bytes.fromhex(h) for h in re.findall(r"^P\[\d+\] ([0-9a-f]+)", block, re.M)]
        if head is None or len(data) != int(head[1]):
            continue  # audio uses another matrix; the largest vector has a digest only
        assert _core.fec_encode("gf8", data, int(head[2])) == parity
        checked += 1
    assert checked == 4


def test_packets_of_the_small_frame_are_the_recorded_bytes() -> None:
    access_unit = bytes.fromhex(wire("frame "))
    for key, label in ((None, "plain"), (KEY, "wire")):
        config = _core.StreamConfig(shard_bytes=32, key=key, salt=SALT)
        packets = _core.packetize(config, access_unit, 0x0102030405060708, 5, 0, 0)
        assert [p.hex() for p in packets] == [wire(f"{label}{n}") for n in range(3)]


def test_the_reference_hosts_first_frame_has_the_recorded_digest() -> None:
    access_unit = (0).to_bytes(4, "little") + bytes(i & 255 for i in range(4, 65536))
    for key, label in ((None, "66 packets, plain sha256 "), (KEY, "wire sha256 ")):
        packets = _core.packetize(_core.StreamConfig(key=key, salt=SALT), access_unit, 0, 5, 0, 0)
        assert len(packets) == 66
        assert hashlib.sha256(b"".join(packets)).hexdigest() == wire(label)[:64]


def test_a_client_seals_under_the_other_direction() -> None:
    sealed = _core.seal(KEY, SALT, False, 0, bytes.fromhex("c80200000000f4ffffff22000000cdab0000"))
    assert sealed.hex() == wire("client->host seal of input MouseMove seq 0: ")


@pytest.mark.parametrize(
    "line", [n for n in (VECTORS / "wire_vectors.txt").read_text().splitlines() if n[:8] == "geometry"]
)
def test_geometry_is_the_worked_example(line: str) -> None:
    found = re.match(r"geometry(?:\((\d+),(\d+)%\))? n=(\d+) blocks=\[(.*)\]", line)
    assert found is not None
    pairs = [(int(k), int(m)) for k, m in re.findall(r"\((\d+), (\d+)\)", found[4])]
    config = _core.StreamConfig(shard_bytes=int(found[1] or 1200), fec_percent=int(found[2] or 20))
    assert _core.geometry(config, int(found[3])) == pairs
