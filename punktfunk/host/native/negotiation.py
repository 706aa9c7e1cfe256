"""What a client and the host agree on: the Welcome that answers a Hello, and the stream that follows from both."""

from __future__ import annotations

import secrets
from dataclasses import replace

from punktfunk.clock import SessionClock
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.errors import MediaError, RejectedError
from punktfunk.host.config import HostConfig
from punktfunk.host.native.sender import NativeTransport
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.host.stream.spec import RecordOptions, SendOptions, StreamLimits, StreamSpec
from punktfunk.media import (
    Codec,
    EncoderConfig,
    FileSpec,
    SyntheticSpec,
    TestCardSpec,
    choose_encoder,
    marker_layout,
)
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.native.control import (
    DEFAULT_BITRATE_KBPS,
    clamp_bitrate_kbps,
)
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import ClientCaps, Codecs, FecCode, Hello, HostCaps, Welcome, WireMode
from punktfunk.units import MAX_REFRESH_HZ, Bitrate, Mode

DEFAULT_REFRESH_HZ = 60
_VERIFY_QUEUE_FRAMES = 512
"""A verification wants every frame, not the newest, also on a machine that stalls."""
_FIRST_HELLO_BYTES = 21
MIN_ASKED_SHARD_BYTES = 512
"""The smallest shard limit of a client that is followed. Clients since v0.25.0 say what their buffers hold (1408 to
9152) and drop packets with less than 512 bytes; a path that carries QUIC (1200 bytes, RFC 9000 section 14) carries
1136. Earlier clients have no limit to say."""
_USUAL_SHARD_BYTES = 1388
"""The smaller of the two that fill a packet of 1500 bytes (punktfunk/1 section 2.5)."""
_WIRE_CODECS = {Codec.H264: Codecs.H264, Codec.HEVC: Codecs.HEVC, Codec.AV1: Codecs.AV1}


def negotiate(
    config: HostConfig, hello: Hello, udp_port: int, address: str, *, tells_cursor: bool = False
) -> Welcome:
    """Make the Welcome that answers ``hello``, with a fresh key.

    ``tells_cursor``: what is streamed can have the pointer told beside its pictures. A client that draws it is then
    promised that, unless the configuration has it painted.

    A client of the first release, which sends 21 bytes or less, gets the 54 bytes that it knows. Raises
    ``RejectedError`` when no codec fits or the mode cannot be streamed.
    """
    mode = _mode(config, hello)
    _require_room(config, mode)
    shard_bytes = _shard_bytes(config, hello, address)
    kbps = wanted_kbps(config, hello, shard_bytes)
    first_release = len(hello.encode()) <= _FIRST_HELLO_BYTES
    codec = _codec(config, hello)
    return Welcome(
        mode=WireMode.of(mode),
        udp_port=udp_port,
        key=secrets.token_bytes(16),
        fec=FecCode.GF16 if config.fec_scheme == "gf16" else FecCode.GF8,
        fec_percent=config.fec_percent,
        max_block_shards=config.block_shards,
        shard_bytes=shard_bytes,
        encrypt=config.encrypt,
        frames=verified_frames(config, mode),
        version=hello.version,
        compositor=0,
        gamepad=None if first_release else 0,
        bitrate_kbps=None if first_release else kbps,
        codec=None if first_release else _WIRE_CODECS[codec],
        host_caps=None if first_release else _host_caps(config, hello, tells_cursor=tells_cursor),
    )


def separates_cursor(welcome: Welcome) -> bool:
    """Return whether it was agreed that the client draws the pointer."""
    return bool((welcome.host_caps or 0) & HostCaps.CURSOR)


def _host_caps(config: HostConfig, hello: Hello, *, tells_cursor: bool) -> HostCaps:
    draws = (hello.client_caps or 0) & ClientCaps.CURSOR
    return HostCaps.CURSOR if draws and tells_cursor and config.cursor != "painted" else HostCaps(0)


def verified_frames(config: HostConfig, mode: Mode) -> int:
    """Frames that Welcome announces: only a synthetic source of known length can be verified."""
    if not config.verify or not isinstance(config.source, SyntheticSpec):
        return 0
    if config.frames is not None:
        return config.frames
    return round(config.seconds * mode.refresh_hz) if config.seconds is not None else 0


def stream_spec(
    config: HostConfig,
    hello: Hello,
    welcome: Welcome,
    clock: SessionClock,
    *,
    records: RecordOptions | None = None,
    screen: ScreenSpec | None = None,
) -> StreamSpec:
    """Describe the stream that was negotiated; ``screen`` is the output of a desktop."""
    kbps = wanted_kbps(config, hello, welcome.shard_bytes)
    source = screen or config.source
    assert not isinstance(source, DesktopSpec)
    chosen = choose_encoder(_codec(config, hello), config.encoder)
    # A verification counts every frame by its number; filler would take numbers away.
    limits = StreamLimits(
        frames=welcome.frames or config.frames,
        seconds=None if welcome.frames else config.seconds,
        probe_kbps=0 if welcome.frames else kbps_in_shards(config.probe_limit.kbps, welcome.shard_bytes),
    )
    return StreamSpec(
        source=source,
        left_alone=chosen.left_alone,
        encoder=EncoderConfig(
            encoder=chosen.name,
            fallbacks=chosen.fallbacks,
            mode=welcome.mode.checked(),
            bitrate=Bitrate.from_kbps(kbps),
            vbv_frames=config.vbv_frames,
            key_interval=config.key_interval,
            threads=config.encoder_threads,
        ),
        separate_cursor=separates_cursor(welcome),
        transport=NativeTransport(
            key=welcome.key.hex() if welcome.encrypt else "",
            salt=welcome.salt.hex(),
            fec_scheme=config.fec_scheme,
            max_block_shards=welcome.max_block_shards,
            shard_bytes=welcome.shard_bytes,
        ).transport(),
        rate_kbps=kbps,
        fec_percent=welcome.fec_percent,
        pacing=config.pacing,
        queue_frames=max(config.queue_frames, _VERIFY_QUEUE_FRAMES if welcome.frames else 0),
        send=SendOptions(
            gso=config.gso, send_buffer_bytes=config.send_buffer_bytes, realtime=config.realtime
        ),
        clock=clock,
        limits=limits,
        records=records,
    )


def _mode(config: HostConfig, hello: Hello) -> Mode:
    if config.mode is not None:
        return config.mode
    hertz = hello.mode.refresh_hz or DEFAULT_REFRESH_HZ
    if hertz > MAX_REFRESH_HZ:
        raise RejectedError(f"{hertz} frames per second were asked for", close_code=CloseCode.SETUP_FAILED)
    return replace(hello.mode, refresh_hz=hertz).checked()


def _require_room(config: HostConfig, mode: Mode) -> None:
    """Refuse a mode that the source cannot draw: told by a worker, it would end as a failure of the data plane."""
    if isinstance(config.source, TestCardSpec) or (
        isinstance(config.source, FileSpec) and config.source.strip
    ):
        try:
            marker_layout.layout(mode.width, mode.height)
        except MediaError as error:
            raise RejectedError(error.cause, close_code=CloseCode.SETUP_FAILED) from error


def _codec(config: HostConfig, hello: Hello) -> Codec:
    # A client that does not say decodes HEVC (punktfunk/1 section 2.5); an operator who names a codec knows the client.
    offered = Codecs.HEVC if hello.codecs is None or hello.codecs == 0 else hello.codecs
    if config.codec != "auto":
        codec = Codec(config.codec)
        if hello.codecs and not offered & _WIRE_CODECS[codec]:
            raise RejectedError(f"the client does not decode {codec}", close_code=CloseCode.SETUP_FAILED)
        return codec
    usable = [codec for codec, bit in _WIRE_CODECS.items() if offered & bit]
    if not usable:
        raise RejectedError(
            "the client decodes nothing that this host encodes", close_code=CloseCode.SETUP_FAILED
        )
    preferred = [codec for codec in usable if hello.preferred_codec == _WIRE_CODECS[codec]]
    return (preferred or usable)[0]


def wanted_kbps(config: HostConfig, hello: Hello, shard_bytes: int) -> int:
    """Return the rate that a stream begins with: the configured one, or the client's wish, or the default."""
    if config.bitrate is not None:
        wanted = config.bitrate.kbps
    else:
        wanted = clamp_bitrate_kbps(hello.bitrate_kbps or DEFAULT_BITRATE_KBPS)
    return min(wanted, kbps_in_shards(MAX_BITRATE.kbps, shard_bytes))


def kbps_in_shards(kbps: int, shard_bytes: int) -> int:
    """Return the rate that makes as many packets of ``shard_bytes`` as ``kbps`` makes of the usual ones, or more.

    Rates are what operators limit; what costs a host and a network is packets. A client that wants smaller ones
    gets no more of them, but for what FEC and the last packet of each frame add.
    """
    return kbps * min(shard_bytes, _USUAL_SHARD_BYTES) // _USUAL_SHARD_BYTES


def _shard_bytes(config: HostConfig, hello: Hello, address: str) -> int:
    ours = config.shard_bytes_for(address)
    most = hello.max_shard_bytes
    if not most or most >= ours:
        return ours
    if most < MIN_ASKED_SHARD_BYTES:
        # More than it says that it can receive would be sent for nothing.
        raise RejectedError(
            f"the client takes packets of {most} bytes at most; none below {MIN_ASKED_SHARD_BYTES} are sent",
            close_code=CloseCode.SETUP_FAILED,
        )
    return most // 2 * 2
