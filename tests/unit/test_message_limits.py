"""Control messages and datagrams at their limits: what fits, what is refused, and with which words (P4)."""

from __future__ import annotations

import struct

import pytest

from punktfunk.errors import ProtocolError
from punktfunk.input import Mic, TriggerEffect
from punktfunk.native import datagrams, messages
from punktfunk.native.datagrams import Ignored
from punktfunk.native.framing import FrameReader, frame

MAGIC = messages.MAGIC


def refusal(payload: bytes) -> str:
    with pytest.raises(ProtocolError) as refused:
        messages.decode(payload)
    return refused.value.cause


@pytest.mark.parametrize("size", [11, 13])
def test_a_message_of_integers_has_exactly_its_size(size: int) -> None:
    assert refusal(MAGIC + b"\x01" + bytes(size)) == f"Reconfigure takes 17 bytes, got {size + 5}"


def test_a_probe_result_is_written_with_both_counts_or_with_none() -> None:
    head = MAGIC + b"\x21" + struct.pack("<QII", 2**40 + 3, 5, 7)
    assert messages.ProbeResult(2**40 + 3, 5, 7).encode() == head
    assert messages.ProbeResult(2**40 + 3, 5, 7, 11, 13).encode() == head + struct.pack("<II", 11, 13)
    assert messages.ProbeResult(2**40 + 3, 5, 7, 11).encode() == head + struct.pack("<II", 11, 0)


def test_the_counts_of_a_probe_result_are_read_when_all_of_their_bytes_are_there() -> None:
    body = struct.pack("<QIIII", 3, 5, 7, 11, 13)
    short, long = messages.ProbeResult(3, 5, 7), messages.ProbeResult(3, 5, 7, 11, 13)
    decoded = [messages.decode(MAGIC + b"\x21" + (body + b"more")[:size]) for size in (16, 23, 24, 28)]
    assert decoded == [short, short, long, long]
    assert refusal(MAGIC + b"\x21" + body[:15]) == "ProbeResult takes at least 21 bytes, got 20"


def test_a_name_of_64_bytes_is_taken_and_a_longer_one_is_refused() -> None:
    for length in (0, 64):
        name = b"n" * length
        body = bytes([length]) + name + struct.pack("<H", 3) + b"abc"
        assert messages.decode(MAGIC + b"\x10" + body) == messages.PairRequest(name.decode(), b"abc")
    whole = bytes([65]) + b"n" * 65 + struct.pack("<H", 0)
    cut = [b"", b"\x02ab\x00", b"\x02ab"]
    for body in (whole, *cut):
        assert refusal(MAGIC + b"\x10" + body) == "PairRequest has no name of at most 64 bytes"
    # No message after the name is one of no bytes, and that is for SPAKE2 to refuse.
    assert messages.decode(MAGIC + b"\x10\x02ab\x00\x00") == messages.PairRequest("ab", b"")


def test_a_name_is_cut_between_characters_and_read_whatever_its_bytes() -> None:
    sent = messages.PairRequest("é" * 31 + "x€", b"").encode()
    assert sent == MAGIC + b"\x10" + bytes([63]) + ("é" * 31 + "x").encode() + b"\x00\x00"
    read = messages.decode(MAGIC + b"\x10\x03a\xffb\x00\x00")
    assert read == messages.PairRequest("a\ufffdb", b"")


def test_a_spake2_message_may_be_as_long_as_its_length_can_say() -> None:
    long = bytes(range(256)) * 255 + bytes(255)
    assert len(long) == 65_535
    mac = b"m" * messages.MAC_BYTES
    for message in (messages.PairRequest("", long), messages.PairChallenge(long, mac)):
        assert messages.decode(message.encode()) == message


@pytest.mark.parametrize(
    ("kind", "name", "before", "after"),
    [(b"\x10", "PairRequest", b"\x00", 0), (b"\x11", "PairChallenge", b"", messages.MAC_BYTES)],
)
def test_a_spake2_message_of_another_length_than_it_says_is_refused_by_name(
    kind: bytes, name: str, before: bytes, after: int
) -> None:
    for size in (2 + after, 4 + after):
        assert refusal(MAGIC + kind + before + b"\x03\x00" + bytes(size)) == f"{name} has a wrong length"
    if name == "PairChallenge":
        for body in (b"", b"\x03"):
            assert refusal(MAGIC + kind + body) == "PairChallenge ends before its SPAKE2 message"
    exact = messages.decode(MAGIC + kind + before + b"\x03\x00abc" + b"m" * after)
    assert isinstance(exact, messages.PairRequest | messages.PairChallenge)
    assert exact.spake == b"abc"


@pytest.mark.parametrize("size", [messages.MAC_BYTES - 1, messages.MAC_BYTES + 1])
def test_a_proof_has_exactly_its_size(size: int) -> None:
    assert messages.MAC_BYTES == 32
    assert refusal(MAGIC + b"\x12" + bytes(size)) == f"PairProof takes 37 bytes, got {size + 5}"


def test_a_typed_message_has_its_magic_and_a_type() -> None:
    for payload in (b"", MAGIC, b"PKF2\x01" + bytes(12), b"pkf1\xf0"):
        assert refusal(payload) == "not a typed control message"
    assert messages.decode(MAGIC + b"\xf0") == messages.Unknown(0xF0, 5)
    assert messages.decode(MAGIC + b"\xf0abc") == messages.Unknown(0xF0, 8)


def test_a_message_fits_its_u16_length_or_is_refused() -> None:
    assert frame(bytes(65_535)) == b"\xff\xff" + bytes(65_535)
    with pytest.raises(ValueError, match=r"^a control message of 65536 bytes does not fit a u16 length$"):
        frame(bytes(65_536))


def test_messages_are_cut_whole_however_their_bytes_come() -> None:
    payloads = [b"", b"a", b"bc" * 300, b"", b"d"]
    stream = b"".join(map(frame, payloads)) + b"\x05"
    for size in (1, 2, 3, 7, len(stream)):
        reader = FrameReader()
        got = [one for at in range(0, len(stream), size) for one in reader.feed(stream[at : at + size])]
        assert (got, reader.pending) == (payloads, 1)


def test_a_datagram_fits_a_packet_or_is_refused_by_name() -> None:
    head = len(datagrams.encode(Mic(0, 0, b"")))
    assert len(datagrams.encode(Mic(1, 2, bytes(1100 - head)))) == 1100
    with pytest.raises(ValueError, match=r"^Mic of 1101 bytes does not fit 1100$"):
        datagrams.encode(Mic(1, 2, bytes(1101 - head)))
    with pytest.raises(ValueError, match=r"^Mic does not fit the wire: "):
        datagrams.encode(Mic(1 << 32, 2, b""))


def test_a_trigger_effect_has_at_most_its_block_and_keeps_pad_and_trigger_apart() -> None:
    block = bytes(range(100, 111))
    for which in (0, 1):
        sent = datagrams.encode(TriggerEffect(2, which, block + b"more"))
        assert sent[2:] == bytes([2, which]) + block
        assert datagrams.decode_from_host(sent + b"more") == TriggerEffect(2, which, block)
    assert datagrams.decode_from_host(sent[:4]) == TriggerEffect(2, 1, b"")


@pytest.mark.parametrize("decode", [datagrams.decode_from_client, datagrams.decode_from_host])
def test_of_a_datagram_with_kinds_both_bytes_are_needed_to_know_that_it_is_unknown(decode: object) -> None:
    assert callable(decode)
    tag = datagrams.Tag.RICH_INPUT if decode is datagrams.decode_from_client else datagrams.Tag.HID_OUTPUT
    assert decode(bytes([tag])) == Ignored("short")
    assert decode(bytes([tag, 0xEE])) == Ignored("unknown_kind")
