"""Captures are read as scapy reads them, in either byte order; what is wrong with one ends the reading with words."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from harness.network import capture_file
from harness.network.capture_file import CaptureFile, Record
from harness.network.pcapng import LINKTYPE_ETHERNET, LINKTYPE_RAW, Writer
from punktfunk.errors import UsageError

T = 1_700_000_000_123_456_789
PACKETS = [(T, b"\x45" + bytes(range(40))), (T + 1, b"\x60odd"), (T + 10**9, b"")]


def written(path: Path, linktype: int = LINKTYPE_RAW, missed: int | None = None) -> Path:
    with Writer(path.open("wb"), linktype, "tun0") as out:
        for time_ns, packet in PACKETS:
            out.write(time_ns, packet)
        if missed is not None:
            out.statistics(T, len(PACKETS) + missed, missed)
    return path


def read(path: Path) -> tuple[list[Record], CaptureFile]:
    with CaptureFile(path) as capture:
        return list(capture), capture


def block(endian: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(endian + "I", len(body) + 12)
    return struct.pack(endian + "I", kind) + length + body + length


def pcapng(endian: str, *blocks: bytes) -> bytes:
    head = struct.pack(endian + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(endian, 0x0A0D0D0A, head) + b"".join(blocks)


def interface(endian: str, linktype: int = 1, options: bytes = b"", kept: int = 0) -> bytes:
    return block(endian, 1, struct.pack(endian + "HHI", linktype, 0, kept) + options)


def packet(endian: str, data: bytes, number: int = 0, ticks: int = 5, whole: int | None = None) -> bytes:
    length = len(data) if whole is None else whole
    head = struct.pack(endian + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(endian, 6, head + data + bytes(-len(data) % 4))


def test_what_the_captures_of_runs_hold_is_read_back_with_what_they_missed(tmp_path: Path) -> None:
    for linktype in (LINKTYPE_RAW, LINKTYPE_ETHERNET):
        records, capture = read(written(tmp_path / "a.pcapng", linktype, missed=7))
        assert [(r.time_ns, r.data, r.length) for r in records] == [(t, p, len(p)) for t, p in PACKETS]
        assert {r.linktype for r in records} == {linktype}
        assert (capture.format, capture.missed, capture.damage) == ("pcapng", 7, "")
        assert [i.name for i in capture.interfaces] == ["tun0"]
    assert read(written(tmp_path / "b.pcapng"))[1].missed is None, "not said is not none"


def test_scapy_reads_the_same(tmp_path: Path) -> None:
    from scapy.utils import RawPcapNgReader, RawPcapReader, RawPcapWriter

    ours = written(tmp_path / "ours.pcapng", missed=1)
    with RawPcapNgReader(str(ours)) as theirs:
        assert [data for data, _meta in theirs] == [p for _t, p in PACKETS]
    for nano in (False, True):
        for endian in "<>":
            file = tmp_path / f"{nano}{endian == '<'}.pcap"
            with RawPcapWriter(str(file), linktype=101, nano=nano, endianness=endian) as out:
                out.write_header(None)
                out.write_packet(b"\x45abc", sec=T // 10**9, usec=T % 10**9 if nano else T % 10**9 // 1000)
            [record], capture = read(file)
            assert record == Record(T if nano else T // 1000 * 1000, 101, b"\x45abc", 4)
            assert (capture.format, capture.missed) == ("pcap", None)
            with RawPcapReader(str(file)) as theirs:
                assert [data for data, _meta in theirs] == [b"\x45abc"]


@pytest.mark.parametrize("endian", "<>")
def test_interfaces_have_their_own_link_layers_units_and_offsets(tmp_path: Path, endian: str) -> None:
    def option(code: int, value: bytes) -> bytes:
        return struct.pack(endian + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    file = tmp_path / "a.pcapng"
    binary = option(9, bytes([0x80 | 10])) + option(14, struct.pack(endian + "q", 3)) + option(0, b"")
    file.write_bytes(
        pcapng(
            endian,
            interface(endian, 1),
            interface(endian, 101, binary),
            packet(endian, b"micro", 0, 2_000_001),
            packet(endian, b"kibi", 1, 1024 + 512),
            packet(endian, b"cut", 1, 0, whole=99),
        )
    )
    records, _capture = read(file)
    assert [(r.time_ns, r.linktype, r.data, r.length) for r in records] == [
        (2_000_001_000, 1, b"micro", 5),
        (4_500_000_000, 101, b"kibi", 4),
        (3_000_000_000, 101, b"cut", 99),
    ]


def test_old_and_simple_packets_and_a_second_section_are_read(tmp_path: Path) -> None:
    old = block("<", 2, struct.pack("<HHIIII", 0, 9, 0, 7, 2, 2) + b"hi" + bytes(2))
    simple = block("<", 3, struct.pack("<I", 6) + b"four")
    second = pcapng(">", interface(">", 101), packet(">", b"more"))
    file = tmp_path / "a.pcapng"
    file.write_bytes(pcapng("<", interface("<", 1, kept=4), old, simple, block("<", 0xBAD, b"")) + second)
    records, capture = read(file)
    assert [(r.data, r.length, r.linktype) for r in records] == [
        (b"hi", 2, 1),
        (b"four", 6, 1),
        (b"more", 4, 101),
    ]
    assert capture.damage == ""


def test_key_logs_in_a_capture_are_kept_up_to_their_cap(tmp_path: Path) -> None:
    def secrets(text: bytes) -> bytes:
        body = struct.pack("<II", 0x544C534B, len(text)) + text + bytes(-len(text) % 4)
        return block("<", 10, body)

    file = tmp_path / "a.pcapng"
    full = b"x" * capture_file.MAX_SECRET_BYTES
    file.write_bytes(pcapng("<", secrets(full)))
    assert read(file)[1].secrets == [full]
    file.write_bytes(pcapng("<", secrets(full), secrets(b"y")))
    _records, capture = read(file)
    assert capture.secrets == [full]
    assert "more than 1048576 bytes of key logs" in capture.damage


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (packet("<", b"late", 1), "a packet of interface 1, of 1"),
        (block("<", 6, b"too few "), "too short for what it says"),
        (block("<", 6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"four"), "5 bytes where there are 4"),
        (struct.pack("<II", 6, 8), "a block of 8 bytes"),
        (struct.pack("<II", 6, (1 << 24) + 1), "more than 16777216"),
        (block("<", 5, bytes(8))[:-4] + bytes(4), "two lengths differ"),
        (packet("<", b"whole")[:-1], "the file ends 1 bytes too early"),
        (struct.pack("<I", 0x0A0D0D0A) + bytes(24), "without a byte order"),
    ],
)
def test_what_is_malformed_ends_the_reading_at_its_byte_and_what_came_before_stays(
    tmp_path: Path, damaged: bytes, why: str
) -> None:
    file = tmp_path / "a.pcapng"
    before = pcapng("<", interface("<", 101), packet("<", b"good"))
    file.write_bytes(before + damaged)
    records, capture = read(file)
    assert [r.data for r in records] == [b"good"]
    assert capture.damage.startswith(f"byte {len(before)}: ")
    assert why in capture.damage


def test_a_pcap_that_is_cut_off_keeps_its_whole_packets(tmp_path: Path) -> None:
    whole = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    whole += struct.pack("<IIII", 1, 2, 4, 4) + b"good" + struct.pack("<IIII", 1, 3, 4, 4) + b"bad"
    file = tmp_path / "a.pcap"
    file.write_bytes(whole)
    records, capture = read(file)
    assert [(r.time_ns, r.data) for r in records] == [(1_000_002_000, b"good")]
    assert "1 bytes too early" in capture.damage


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "4 bytes too early"),
        (b"GIF89a..", "neither pcap nor pcapng"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 9, 4, 0, 0, 0, 1), "pcap of version 9"),
        (block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)), "pcapng of version 2"),
    ],
)
def test_what_is_no_capture_at_all_is_an_error_with_the_next_step(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=why) as raised:
        CaptureFile(file)
    assert "name a .pcap or .pcapng file" in raised.value.hint


def test_a_fifo_a_folder_and_nothing_are_no_captures_and_hold_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, why in (("fifo", "no regular file"), (".", "regular file"), ("gone", "No such file")):
        with pytest.raises(UsageError, match=why):
            CaptureFile(tmp_path / path)


def test_the_time_of_a_packet_is_bounded_whatever_a_capture_says(tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    slow = struct.pack("<HHBxxx", 9, 1, 0)  # units of a second
    early = struct.pack("<HHq", 14, 8, -5)
    file.write_bytes(
        pcapng(
            "<",
            interface("<", 101, slow),
            interface("<", 101, early),
            packet("<", b"a", 0, (1 << 64) - 1),
            packet("<", b"b", 1, 1),
        )
    )
    assert [r.time_ns for r in read(file)[0]] == [(1 << 63) - 1, 0]


def test_interfaces_have_a_cap(tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    one = interface("<", 101)
    file.write_bytes(pcapng("<", one * capture_file.MAX_INTERFACES, packet("<", b"good")))
    assert read(file)[1].damage == ""
    file.write_bytes(pcapng("<", one * (capture_file.MAX_INTERFACES + 1), packet("<", b"good")))
    records, capture = read(file)
    assert records == []
    assert "more than 1024 interfaces" in capture.damage
