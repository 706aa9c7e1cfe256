"""GameStream's sound through Python: the bytes of the description, and a stream that loses a third of its packets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from punktfunk.core._core import GameStreamAudio, GameStreamAudioReceiver
from punktfunk.errors import InvalidConfigError

PAGE = Path(__file__).parents[2] / "docs/reference/wire/gamestream.md"
KEY = bytes(range(16))


def example(mark: str) -> bytes:
    """Return the bytes behind a word of the description's example of sound."""
    found = re.search(rf"{mark} ([0-9a-f]+)\n", PAGE.read_text(encoding="utf-8").partition("\n[audio]")[2])
    assert found is not None
    return bytes.fromhex(found[1])


@pytest.mark.conformance(50)
def test_packets_are_those_of_the_examples() -> None:
    opus = example("opus")
    for audio, mark in (
        (GameStreamAudio(None, 1460318696, 5), "plain packet"),
        (GameStreamAudio(KEY, 1460318696, 5), "encrypted packet"),
    ):
        packets = [audio.packet(opus) for _ in range(6)]
        assert [len(sent) for sent in packets] == [1, 1, 1, 3, 1, 1]
        assert packets[5] == [example(mark)]
    audio = GameStreamAudio(None, 0, 5)
    payloads = re.findall(
        r"'([0-9a-f]{16})'", PAGE.read_text(encoding="utf-8").partition("FEC block base seq 8")[2]
    )
    assert len(payloads) == 4
    sent = [audio.packet(bytes.fromhex(payload)) for payload in payloads * 3]
    assert sent[11][1:] == [example("fec packet 0"), example("fec packet 1")]


@pytest.mark.conformance(30)
@pytest.mark.conformance(64)
@pytest.mark.conformance(66)
@pytest.mark.parametrize("packet_ms", [5, 10])
def test_two_of_six_may_be_lost_of_encrypted_sound_with_a_negative_number_of_its_key(packet_ms: int) -> None:
    audio, receiver = GameStreamAudio(KEY, -2, packet_ms), GameStreamAudioReceiver(KEY, -2)
    heard = []
    for number in range(80):
        for index, datagram in enumerate(audio.packet(number.to_bytes(2, "big") * 40)):
            if index == 0 and number % 4 in {1, 2}:
                continue
            heard += receiver.receive(datagram)
    heard += receiver.settle()
    assert heard == [(n, 0, n % 4 in {1, 2}, n.to_bytes(2, "big") * 40) for n in range(80)]
    stats = receiver.stats()
    assert (stats["recovered"], stats["lost"], stats["received"]) == (40, 0, 80)
    third = receiver.receive(audio.packet(bytes(80))[0])
    assert third == [(80, 0, False, bytes(80))]


@pytest.mark.conformance(64)
def test_a_packet_of_another_length_is_refused_for_clients_would_stop_recovering() -> None:
    audio = GameStreamAudio(KEY, 5, 5)
    audio.packet(bytes(80))
    with pytest.raises(InvalidConfigError, match="constant bit rate"):
        audio.packet(bytes(81))
    with pytest.raises(InvalidConfigError, match="1376 bytes exceeds the 1375"):
        audio.packet(bytes(1376))
    assert audio.max_opus_bytes == 1375
    with pytest.raises(InvalidConfigError, match="5 or 10 ms"):
        GameStreamAudio(None, 0, 20)
    with pytest.raises(ValueError, match="key must have 16 bytes"):
        GameStreamAudio(b"short", 0, 5)


def test_bytes_that_are_no_sound_are_counted_and_nothing_else() -> None:
    receiver = GameStreamAudioReceiver(KEY, 0)
    for datagram in (
        b"",
        b"PING",
        bytes(12),
        bytes([0x80, 97]) + bytes(10),
        bytes([0x80, 127]) + bytes(30),
        bytes(2000),
    ):
        assert receiver.receive(datagram) == []
    assert receiver.stats()["rejected"] == receiver.stats()["received"] == 6


@pytest.mark.conformance(67)
def test_encrypted_sound_stays_what_it_was_beyond_where_its_numbers_wrap() -> None:
    audio, receiver = GameStreamAudio(KEY, -70_000, 5), GameStreamAudioReceiver(KEY, -70_000)
    heard = 0
    for number in range(65_536 + 64):
        opus = number.to_bytes(4, "big") * 5
        for datagram in audio.packet(opus):
            for sequence, gap, _, data in receiver.receive(datagram):
                assert (sequence, gap, data) == (heard, 0, heard.to_bytes(4, "big") * 5)
                heard += 1
    assert heard == 65_536 + 64
