"""Promise P1 for the control plane's decoders: no bytes raise anything but a protocol error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.errors import ProtocolError
from punktfunk.native import handshake, messages
from punktfunk.native.framing import FrameReader, frame
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
modes = st.builds(WireMode, u32, u32, u32)


@given(st.sampled_from([Hello, Welcome, Start]), st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_decode_or_raise_a_protocol_error(kind: type, body: bytes, with_magic: bool) -> None:
    raw = (handshake.MAGIC if with_magic else b"") + body[:80]
    try:
        message = kind.decode(raw)
    except ProtocolError:
        assert not with_magic or len(raw) < 53
    else:
        assert isinstance(message, kind)


@given(u8, st.binary(max_size=200))
def test_arbitrary_typed_bodies_decode_or_raise_a_protocol_error(kind: int, body: bytes) -> None:
    raw = messages.MAGIC + bytes([kind]) + body
    try:
        message = messages.decode(raw)
    except ProtocolError:
        assert kind in messages._DECODERS
        return
    if isinstance(message, messages.Unknown):
        assert kind not in messages._DECODERS
    elif not isinstance(message, messages.PairRequest | messages.ProbeResult):
        assert message.encode() == raw


@given(st.binary(max_size=40))
def test_bytes_without_the_typed_magic_are_refused(raw: bytes) -> None:
    if raw[:4] == messages.MAGIC:
        return
    with pytest.raises(ProtocolError):
        messages.decode(raw)


@given(
    st.builds(
        Hello,
        mode=modes,
        version=u32,
        compositor=u8,
        gamepad=u8,
        bitrate_kbps=u32,
        name=st.none() | st.text(min_size=1, max_size=16),
        launch=st.none() | st.text(min_size=1, max_size=32),
        video_caps=u8,
        audio_channels=u8,
        codecs=u8.map(handshake.Codecs),
        preferred_codec=u8.map(handshake.Codecs),
        hdr_display=st.none() | st.binary(min_size=28, max_size=28),
        client_caps=u8,
        max_shard_bytes=u16,
        audio_rate_hz=u32,
        audio_bits=u8,
    ),
    st.binary(max_size=8),
)
def test_a_full_hello_survives_the_round_trip_and_unknown_bytes_after_it(hello: Hello, more: bytes) -> None:
    assert Hello.decode(hello.encode() + (more if hello.hdr_display else b"")) == hello


@given(st.integers(20, 60))
def test_a_hello_cut_anywhere_keeps_what_came_before_the_cut(length: int) -> None:
    whole = Hello(mode=WireMode(640, 480, 30), gamepad=1, bitrate_kbps=9, name="n" * 20, video_caps=2)
    cut = Hello.decode(whole.encode()[:length])
    assert cut.mode == whole.mode
    assert cut.gamepad == (1 if length >= 22 else None)
    assert cut.bitrate_kbps == (9 if length >= 26 else None)
    assert cut.name == (whole.name if length >= 47 else None)


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_framing_does_not_depend_on_where_the_stream_is_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    reader = FrameReader()
    got: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:size])
        stream = stream[size:]
        assert reader.pending <= 65537
    assert got == payloads
    assert reader.pending == 0
