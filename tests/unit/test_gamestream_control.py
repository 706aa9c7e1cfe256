"""Control messages of GameStream: the wrapper by its vectors, and every message both ways (sections 8, 10.3, 10.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from punktfunk.errors import CryptoError
from punktfunk.gamestream import control as wire
from punktfunk.gamestream.control_cipher import OVERHEAD_BYTES, REPLAY_WINDOW, ControlCipher, ReplayWindow
from punktfunk.input import (
    Lightbar,
    MotionWanted,
    PadSensor,
    PlayerLeds,
    Rumble,
    TriggerEffect,
    TriggerRumble,
)

RIKEY = bytes(range(16))
IDR = bytes.fromhex("0203 0200 0000")
VECTORS = {
    "v2 client 0": (True, "client", 0, IDR, "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe"),
    "old client 0": (False, "client", 0, IDR, "01001a0000000000566c8363e380dad031b24ee56ee40bb6021579f6ebbe"),
    "old client 300": (
        False,
        "client",
        300,
        bytes.fromhex("0703 0100 00"),
        "010019002c0100004e6561fe006c71e003b9307b2f93b4017f26c0c1fb",
    ),
    "v2 host 0": (
        True,
        "host",
        0,
        wire.encode_from_host(Rumble(1, 0x1234, 0xABCD)),
        "01002200000000000060e7ba17f11a7d3ce7c8078049503df0dd40da4f38e822c98f9186a90a",
    ),
    "v2 host 1": (
        True,
        "host",
        1,
        wire.encode_from_host(wire.Termination()),
        "01001c00010000007c12155b31ad22d098eb08ed2c5f5d8628320370093d85fb",
    ),
}
HDR = bytes.fromhex("01 d084 803e c233 c486 4c1d b80b 133d 4240 e803 3200 2003 9001 5802")
"""Appendix A."""
DISPLAY = wire.HdrMetadata(
    (34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450), 1000, 50, 800, 400, 600
)


def pair(*, v2: bool = True) -> tuple[ControlCipher, ControlCipher]:
    """Return a client's cipher and its host's."""
    return ControlCipher(RIKEY, "client", v2=v2), ControlCipher(RIKEY, "host", v2=v2)


@pytest.mark.conformance(69)
@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_appendix_a_are_sealed_and_opened_bit_by_bit(name: str) -> None:
    v2, end, sequence, inner, expected = VECTORS[name]
    sender = ControlCipher(RIKEY, end, v2=v2)
    for _ in range(sequence):
        sender.seal(b"before")
    assert sender.seal(inner) == bytes.fromhex(expected)
    receiver = ControlCipher(RIKEY, "host" if end == "client" else "client", v2=v2)
    assert receiver.open(bytes.fromhex(expected)) == inner


@pytest.mark.conformance(69)
@pytest.mark.parametrize("v2", [True, False])
def test_what_was_changed_anywhere_is_not_opened(v2: bool) -> None:
    client, host = pair(v2=v2)
    message = client.seal(IDR)
    for index in range(len(message)):
        changed = bytearray(message)
        changed[index] ^= 1
        if not v2 and 5 <= index <= 7:
            continue  # the older form does not authenticate the sequence's upper bytes
        with pytest.raises(CryptoError):
            host.open(bytes(changed))
    assert host.open(message) == IDR


@pytest.mark.conformance(69)
def test_what_is_not_encrypted_is_not_opened() -> None:
    _, host = pair()
    for message in (b"", IDR, IDR + bytes(OVERHEAD_BYTES), b"\x01\x00" + bytes(30)):
        with pytest.raises(CryptoError, match=r"not an encrypted|too short"):
            host.open(message)


def test_a_message_of_the_other_form_or_the_own_direction_is_not_opened() -> None:
    client, host = pair()
    with pytest.raises(CryptoError, match="another key"):
        client.open(client.seal(IDR))
    with pytest.raises(CryptoError, match="another key"):
        host.open(ControlCipher(RIKEY, "client", v2=False).seal(IDR))


def test_messages_are_taken_in_any_order_and_each_once() -> None:
    client, host = pair()
    messages = [client.seal(bytes([number & 0xFF])) for number in range(REPLAY_WINDOW + 2)]
    assert host.open(messages[3]) == b"\3"
    assert host.open(messages[0]) == b"\0", "an earlier one that was overtaken"
    for again in (0, 3):
        with pytest.raises(CryptoError, match="there before"):
            host.open(messages[again])
    assert host.open(messages[REPLAY_WINDOW]) == bytes([REPLAY_WINDOW & 0xFF])
    assert host.open(messages[1]) == b"\1", "the last within the window"
    host.open(messages[REPLAY_WINDOW + 1])
    with pytest.raises(CryptoError, match="there before"):
        host.open(messages[1])


def test_a_forged_number_does_not_move_the_replay_window() -> None:
    client, host = pair()
    first, forged = client.seal(IDR), bytearray(client.seal(IDR))
    forged[4:8] = (2**31).to_bytes(4, "little")
    with pytest.raises(CryptoError):
        host.open(bytes(forged))
    assert host.open(first) == IDR


def test_a_replay_window_keeps_as_much_whatever_comes() -> None:
    window = ReplayWindow()
    assert window.take(2**32 - 1)
    assert not window.take(0)
    assert not window.take(2**32 - 1 - REPLAY_WINDOW)
    assert window.take(2**32 - REPLAY_WINDOW)
    assert window._seen.bit_length() <= REPLAY_WINDOW


def test_numbers_are_not_used_again_when_they_are_spent() -> None:
    client, _ = pair()
    client._next = 2**32 - 1
    client.seal(IDR)
    with pytest.raises(CryptoError, match="spent"):
        client.seal(IDR)


CLIENT_MESSAGES: dict[str, tuple[str, wire.ClientMessage]] = {
    "idr": ("0203 0200 0000", wire.IdrRequest()),
    "start b": ("0703 0100 00", wire.StartB()),
    "ping": ("0002 0800 0400 00000000 0000", wire.Ping()),
    "input": ("0602 0a00 00000006 0d000000 0100", wire.Input(bytes.fromhex("00000006 0d000000 0100"))),
    "invalidate": (
        "0103 1800 05000000 00000000 09000000 000000000000000000000000",
        wire.Invalidate(5, 9),
    ),
    "fec status": (
        "0255 1500 00000001 002e 000a 0006 002c 0003 0026 0003 05 00 01",
        wire.FecStatus(1, 0x2E, 0x0A, 6, 44, 3, 38, 3, 5, 0, 1),
    ),
    "long-term ack": ("5003 0800 07000000 00000000", wire.LongTermAck(7)),
    "loss statistics of old clients": (
        "0102 2000 00000000 32000000 e8030000 0700000000000000 00000000 00000000 14000000",
        wire.LossStats(7),
    ),
}
"""The FEC status is the sample of section 8.3."""
HOST_MESSAGES: dict[str, tuple[str, wire.HostMessage]] = {
    "rumble": ("0b01 0a00 00000000 0100 3412 cdab", Rumble(1, 0x1234, 0xABCD)),
    "graceful": ("0901 0400 80030023", wire.Termination()),
    "trigger rumble": ("0055 0600 0200 0100 ffff", TriggerRumble(2, 1, 0xFFFF)),
    "motion": ("0155 0500 0300 c800 02", MotionWanted(3, PadSensor.GYROSCOPE, 200)),
    "light": ("0255 0500 0100 0a1420", Lightbar(1, 10, 20, 32)),
    "hdr": ("0e01 1b00" + HDR.hex(), wire.HdrMode(True, DISPLAY)),
    "hdr off": ("0e01 1b00" + "00" * 27, wire.HdrMode(False)),
}


@pytest.mark.parametrize("name", CLIENT_MESSAGES)
def test_what_clients_say_is_read_and_written(name: str) -> None:
    data, message = bytes.fromhex(CLIENT_MESSAGES[name][0]), CLIENT_MESSAGES[name][1]
    assert wire.decode_from_client(data) == message
    assert wire.encode_from_client(message) == data
    assert wire.decode_from_client(data + b"more") == message, (
        "what stands behind the length is not looked at"
    )


@pytest.mark.conformance(72)
@pytest.mark.parametrize("name", HOST_MESSAGES)
def test_what_hosts_say_is_written_as_clients_read_it(name: str) -> None:
    data, message = bytes.fromhex(HOST_MESSAGES[name][0]), HOST_MESSAGES[name][1]
    assert wire.encode_from_host(message) == data
    assert wire.decode_from_host(data) == message


@pytest.mark.conformance(72)
def test_adaptive_triggers_are_the_sample_of_section_10_4() -> None:
    left, right = bytes(range(10)), bytes(range(10, 20))
    both = bytes.fromhex("0355 1900 0100 0c 05 06") + left + right
    effects = wire.decode_from_host(both)
    assert effects == (TriggerEffect(1, 0, b"\5" + left), TriggerEffect(1, 1, b"\6" + right))
    for effect in effects:
        assert wire.decode_from_host(wire.encode_from_host(effect) or b"") == (effect,)
    assert wire.encode_from_host(replace(effects[0], effect=b"\5")) == (
        bytes.fromhex("0355 1900 0100 08 05 00") + bytes(20)
    ), "an effect that needs less is filled up"


def test_player_lights_have_no_message() -> None:
    assert wire.encode_from_host(PlayerLeds(0, 1)) is None


@pytest.mark.conformance(73)
@pytest.mark.parametrize("kind", [0x0204, 0x3000, 0x3001, 0x3002, 0x0305, 0x0000, 0xFFFF, 0x1234], ids=hex)
def test_types_that_nobody_needs_are_named_and_dropped(kind: int) -> None:
    expected = "unused_type" if kind in {0x0204, 0x3000, 0x3001, 0x3002} else "unknown_type"
    assert wire.decode_from_client(kind.to_bytes(2, "little") + b"\1\0\7") == wire.Ignored(expected)


@pytest.mark.conformance(73)
def test_bodies_that_are_too_short_are_dropped() -> None:
    for data in ("", "0203", "0203 0200 00", "0103 0400 00000000", "0255 0200 0000", "5003 0000"):
        assert wire.decode_from_client(bytes.fromhex(data)) == wire.Ignored("short"), data
    for data in ("0b01 0200 0000", "0901 0100 00", "0355 0500 0100 0c 05 06"):
        assert wire.decode_from_host(bytes.fromhex(data)) == wire.Ignored("short"), data
    assert wire.decode_from_host(bytes.fromhex("0155 0500 0300 c800 09")) == wire.Ignored("unknown_type")
