"""What a client asks for: its identity and dialects, the Hello to the host, the order to its receive worker."""

from __future__ import annotations

import platform

from punktfunk.client import messages
from punktfunk.client.config import ClientConfig
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.media import Codec
from punktfunk.native import control
from punktfunk.native.client import ClientConnection
from punktfunk.native.dialect import Dialect
from punktfunk.native.handshake import ClientCaps, Codecs, FecCode, Hello, WireMode
from punktfunk.trust.identity import Identity, Role

_VERIFY_WINDOW_NS = 2 * control.S
_VERIFY_QUEUE_FRAMES = 512
"""A verification has no use for the newest picture; it wants every one, also on a machine that stalls."""
_WIRE_CODECS = {Codec.H264: Codecs.H264, Codec.HEVC: Codecs.HEVC, Codec.AV1: Codecs.AV1}


def known_pin(config: ClientConfig, address: tuple[str, int]) -> str | None:
    """Return the fingerprint of the host that was paired with at that address."""
    return None if config.state_dir is None else KnownHosts(config.state_dir).pin_for(address)


def load_identity(config: ClientConfig) -> Identity:
    """Return the identity of ``config``'s folder, or a passing one."""
    if config.state_dir is None:
        return Identity.generate(Role.CLIENT)
    return Identity.load_or_create(config.state_dir, Role.CLIENT)


def dialects(config: ClientConfig) -> list[Dialect]:
    """Return the ALPN dialects to try, in order."""
    if config.dialect == "auto":
        return [Dialect.PKF1, Dialect.PLAIN]
    return [Dialect(config.dialect)]


def hello_for(config: ClientConfig) -> Hello:
    """Make the Hello that asks for what ``config`` wants."""
    codecs = Codecs(0)
    for codec in config.codecs:
        codecs |= _WIRE_CODECS[codec]
    return Hello(
        mode=WireMode.of(config.mode),
        gamepad=0,
        bitrate_kbps=config.bitrate.kbps if config.bitrate else 0,
        name=config.name or platform.node() or None,
        launch=config.app,
        video_caps=0,
        audio_channels=2,
        codecs=codecs,
        preferred_codec=_WIRE_CODECS[config.codecs[0]] if config.codecs else None,
        client_caps=ClientCaps.CURSOR if config.draws_cursor else None,
    )


def receive_order(config: ClientConfig, connection: ClientConnection) -> messages.Receive:
    welcome = connection.welcome
    assert welcome is not None
    codec = next((name for name, bit in _WIRE_CODECS.items() if bit == welcome.codec), Codec.HEVC)
    return messages.Receive(
        key=welcome.key.hex() if welcome.encrypt else "",
        salt=welcome.salt.hex(),
        fec_scheme="gf16" if welcome.fec is FecCode.GF16 else "gf8",
        fec_percent=welcome.fec_percent,
        max_block_shards=welcome.max_block_shards,
        shard_bytes=welcome.shard_bytes,
        hold_undecodable=config.hold_undecodable,
        reorder_window_ns=config.reorder_window.ns,
        loss_window_ns=max(config.loss_window.ns, _VERIFY_WINDOW_NS if welcome.frames else 0),
        queue_frames=max(config.queue_frames, _VERIFY_QUEUE_FRAMES if welcome.frames else 0),
        gro=config.gro,
        receive_buffer_bytes=config.receive_buffer_bytes,
        frames=welcome.frames,
        codec=str(codec) if config.decode and not welcome.frames else None,
        mode=welcome.mode.checked(),
        # Reading the frame marker takes time that somebody who watches would rather have.
        read_marker=config.read_strip and not config.present,
        title=_title(config, connection) if config.present and not welcome.frames else None,
        reference=None if config.reference is None else config.reference.model_dump(mode="json"),
        reference_every=config.reference_every,
        recovery=config.recovery,
        loss_reports=config.loss_reports,
        artefacts=None if config.artefacts is None else str(config.artefacts.absolute()),
        record_frames=config.record_frames,
        out=None if config.out is None else str(config.out.absolute()),
        clock_offset_ns=connection.clock.offset_ns,
        clock_error_ns=connection.clock.error_ns,
    )


def _title(config: ClientConfig, connection: ClientConnection) -> str:
    return f"punktfunk {config.address or connection.address[0]}"
