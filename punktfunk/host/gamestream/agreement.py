"""What a Moonlight client and the host agree on: which codecs there are, and the stream that was announced."""

from __future__ import annotations

from typing import Literal

from punktfunk import log
from punktfunk.clock import SessionClock
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.errors import CapabilityError, MediaError, StatusError, UnitError
from punktfunk.gamestream.announce import Announced, ColourSpace
from punktfunk.gamestream.describe import NO_FEATURES, CodecModes, Encryption, Features
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.gamestream.surround import LAYOUTS, SurroundParams
from punktfunk.host.client_session import StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.gamestream.sender import GameStreamTransport
from punktfunk.host.gamestream.session import GameStreamSession
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.host.stream.spec import Pacing, RecordOptions, SendOptions, StreamLimits, StreamSpec
from punktfunk.media import (
    HARDWARE,
    Codec,
    EncoderConfig,
    FileSpec,
    SyntheticSpec,
    TestCardSpec,
    check_encoder,
    choose_encoder,
    marker_layout,
)
from punktfunk.media.encoders.base import MAX_BITRATE, MIN_BITRATE
from punktfunk.media.sound import SoundFormat
from punktfunk.media.types import Colours
from punktfunk.units import Bitrate, Mode

_MODES = {Codec.H264: CodecModes.H264, Codec.HEVC: CodecModes.HEVC, Codec.AV1: CodecModes.AV1}
_SPACES: dict[ColourSpace, Literal["bt601", "bt709", "bt2020"]] = {
    ColourSpace.REC601: "bt601",
    ColourSpace.REC709: "bt709",
    ColourSpace.REC2020: "bt2020",
}
_USUAL_MODE = Mode(1920, 1080, 60)
"""Of a desktop whose client has not said what it shows."""
_USUAL_BITSTREAM_BYTES = 1376
"""Of a packet of the usual size (section 7.1)."""
_SOUND_PAYLOAD_BYTES = 1400 - 12 - 16
"""What an Opus packet may take of a datagram of sound: RTP header and padding of the cipher are the rest."""
ENCRYPTION_BYTES = 32
"""What encryption puts in front of a packet of video (section 7.8)."""
VIDEO_DSCP = 40
"""CS5, as hosts usually mark video (section 7.9)."""
_BURST_PACKETS, _PACKETS_PER_MS = 16, 71
"""Pacing of section 7.9: about a millisecond's worth at 800 Mbit/s, so that no millisecond has 100 packets."""


def offered_modes(config: HostConfig) -> CodecModes:
    """Return what the encoders of this machine make for a stream; takes some 100 ms, and longer for a GPU's first time.

    Clients take AV1 before HEVC before H.264 wherever they may, so that the slower codecs are offered only where a GPU
    makes them, or the operator has asked for one, whose encoder is tried. H.264 stays beside it, for clients without
    that, and is taken for granted: clients refuse a host that has none, and every stream says why it cannot start.
    """
    modes = CodecModes.H264
    if isinstance(config.source, SyntheticSpec):
        return modes
    for codec in (Codec.HEVC, Codec.AV1):
        if config.codec in {"auto", codec} and _can_make(config, codec):
            modes |= _MODES[codec]
    return modes


def offered_features(*, touch: bool) -> Features:
    """Return which input clients shall send as it is: what nothing here takes, they make a mouse of themselves."""
    return Features.PEN_AND_TOUCH if touch else NO_FEATURES


def require_stream(config: HostConfig, modes: CodecModes, announced: Announced) -> None:
    """Raise ``StatusError`` (400) for a stream that this host cannot make."""
    wanted = announced.codec_mode
    if wanted is None or wanted not in modes:
        depth = "10-bit " if announced.ten_bit else ""
        chroma = " 4:4:4" if announced.chroma444 else ""
        raise StatusError(
            f"this host does not encode {depth}{announced.codec}{chroma}",
            "choose another codec in the client's settings",
            status=400,
        )
    if not announced.encrypted_control:
        raise StatusError(
            "this host takes encrypted control connections only", "update the client", status=400
        )
    _require_room(config, streamed_mode(config, announced))


def streamed_mode(config: HostConfig, announced: Announced) -> Mode:
    """Return the mode of the stream: the configured one, or what the client asks for."""
    return announced.mode if config.mode is None else config.mode


def hinted_mode(config: HostConfig, request: LaunchRequest) -> Mode:
    """Return the mode that the stream of a launch will have, as far as that is known: a client says it by RTSP."""
    hint = request.mode
    if config.mode is not None or hint is None:
        return config.mode or _USUAL_MODE
    try:
        return Mode(hint.width, hint.height, round(hint.fps) or _USUAL_MODE.refresh_hz)
    except UnitError:
        return _USUAL_MODE


def datagram_bytes(announced: Announced) -> int:
    """Return the length of each datagram of video (section 7.1)."""
    encrypted = Encryption.VIDEO in announced.encryption
    return announced.packet_bytes + 16 + (ENCRYPTION_BYTES if encrypted else 0)


def sound_format(
    announced: Announced, *, high_quality_stereo: bool, custom: SurroundParams | None
) -> SoundFormat:
    """Return how sound is coded for a client: hard CBR, never pausing (sections 9.1 and 9.3)."""
    high = high_quality_stereo if announced.channels == 2 else announced.high_quality
    layout = LAYOUTS[announced.channels, high]
    params = layout.params
    if custom is not None and custom.channels == announced.channels:
        # Clients unscramble what they take for the line of normal quality, their own too.
        params = custom if high else custom.unscrambled()
    fits_kbps = (_SOUND_PAYLOAD_BYTES - 2 * params.streams) * 8 // announced.packet_ms
    return SoundFormat(
        channels=params.channels,
        streams=params.streams,
        coupled=params.coupled,
        mapping="".join(map(str, params.mapping)),
        bitrate_kbps=min(layout.bitrate.kbps, fits_kbps),
        packet_ms=10 if announced.packet_ms == 10 else 5,
        continuous=True,
    )


def stream_request(
    config: HostConfig, session: GameStreamSession, announced: Announced, custom: SurroundParams | None
) -> StreamRequest:
    """Return what was agreed on, as the owner of all sessions wants it."""
    sound = sound_format(announced, high_quality_stereo=session.exchange.high_quality_stereo, custom=custom)
    mode = streamed_mode(config, announced)
    max_kbps = (
        MAX_BITRATE.kbps * min(announced.packet_bytes - 16, _USUAL_BITSTREAM_BYTES) // _USUAL_BITSTREAM_BYTES
    )
    wanted = announced.video_kbps(config.fec_percent, high_quality_sound=sound.bitrate_kbps >= 512)
    if config.bitrate is not None:
        wanted = config.bitrate.kbps
    kbps = max(MIN_BITRATE.kbps, min(wanted, max_kbps))
    clock = SessionClock.start()

    def spec(records: RecordOptions | None, screen: ScreenSpec | None) -> StreamSpec:
        source = screen or config.source
        assert not isinstance(source, DesktopSpec)
        chosen = choose_encoder(announced.codec, config.encoder)
        return StreamSpec(
            source=source,
            left_alone=chosen.left_alone,
            encoder=EncoderConfig(
                encoder=chosen.name,
                fallbacks=chosen.fallbacks,
                mode=mode,
                bitrate=Bitrate.from_kbps(kbps),
                vbv_frames=config.vbv_frames,
                threads=config.encoder_threads,
                slices=announced.slices,
                colours=Colours(_SPACES[announced.colour_space], announced.full_range),
            ),
            transport=GameStreamTransport(
                packet_size=announced.packet_bytes,
                min_fec=announced.min_fec,
                codec=announced.codec.value,
                key=session.request.rikey.hex() if Encryption.VIDEO in announced.encryption else "",
                dscp=VIDEO_DSCP if announced.video_qos else 0,
            ).transport(),
            rate_kbps=kbps,
            fec_percent=config.fec_percent,
            pacing=Pacing(
                burst_packets=min(config.pacing.burst_packets, _BURST_PACKETS),
                packets_per_ms=min(config.pacing.packets_per_ms, _PACKETS_PER_MS),
                rate_factor=config.pacing.rate_factor,
            ),
            queue_frames=config.queue_frames,
            send=SendOptions(
                gso=config.gso, send_buffer_bytes=config.send_buffer_bytes, realtime=config.realtime
            ),
            clock=clock,
            limits=StreamLimits(frames=config.frames, seconds=config.seconds),
            records=records,
        )

    return StreamRequest(
        name=session.peer.name,
        mode=mode,
        source=config.source.kind,
        bitrate_kbps=kbps,
        max_kbps=max_kbps,
        fec_scheme="gf8",
        fec_percent=config.fec_percent,
        # A client that says nothing of damaged frames says nothing of whole ones either.
        fec_floor=config.fec_floor_percent if announced.frame_status else None,
        tells_loss=announced.frame_status,
        record_frames=config.record_frames,
        spec=spec,
        sound=sound,
        host_audio=session.request.host_audio,
        keep_pads=session.request.persist_gamepads,
        scale=session.request.scale,
        open_desktop=session.app.open_desktop
        if session.app is not None and session.app.app.own_desktop
        else None,
    )


def _can_make(config: HostConfig, codec: Codec) -> bool:
    """Whether a codec is made by the GPU, or by software for an operator who has asked for it."""
    try:
        name = choose_encoder(codec, config.encoder).name
    except CapabilityError:
        return False
    if name in HARDWARE:
        return True
    if config.codec == "auto":
        return False
    check = check_encoder(name)
    if not check.available:
        log.get("host").warning("codec not offered to Moonlight clients", codec=codec, cause=check.reason)
    return check.available


def _require_room(config: HostConfig, mode: Mode) -> None:
    """Refuse a mode that the source cannot draw: told by a worker, it would end as a failure of the stream."""
    if isinstance(config.source, TestCardSpec) or (
        isinstance(config.source, FileSpec) and config.source.strip
    ):
        try:
            marker_layout.layout(mode.width, mode.height)
        except MediaError as error:
            raise StatusError(error.cause, status=400) from error
