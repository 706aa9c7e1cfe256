"""A stream as the host sees it: negotiated with the client, carried out by a worker process."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from punktfunk.clock import SessionClock
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.errors import MediaError, PunktfunkError, RejectedError
from punktfunk.host import work
from punktfunk.host.adaptive_fec import FecChoice
from punktfunk.host.config import HostConfig
from punktfunk.media import (
    Codec,
    EncoderConfig,
    FileSpec,
    SyntheticSpec,
    TestCardSpec,
    choose_encoder,
    strip,
)
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.native.control import (
    DEFAULT_BITRATE_KBPS,
    clamp_bitrate_kbps,
)
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import Codecs, FecCode, Hello, Welcome, WireMode
from punktfunk.process.worker_process import WorkerProcess
from punktfunk.units import MAX_REFRESH_HZ, Bitrate, Mode

WORKER_MODULE = "punktfunk.host.worker"
DEFAULT_REFRESH_HZ = 60
READY_LIMIT_S = 15.0
"""A worker that has not opened its source and encoder by then is given up."""

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


def negotiate(config: HostConfig, hello: Hello, udp_port: int, address: str) -> Welcome:
    """Make the Welcome that answers ``hello``, with a fresh key.

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
        host_caps=None if first_release else 0,
    )


def verified_frames(config: HostConfig, mode: Mode) -> int:
    """Frames that Welcome announces: only a synthetic source of known length can be verified."""
    if not config.verify or not isinstance(config.source, SyntheticSpec):
        return 0
    if config.frames is not None:
        return config.frames
    return round(config.seconds * mode.refresh_hz) if config.seconds is not None else 0


def prepare(
    config: HostConfig,
    hello: Hello,
    welcome: Welcome,
    clock: SessionClock,
    artefacts: Path | None,
    *,
    screen: ScreenSpec | None = None,
) -> work.Prepare:
    """Make a worker's first message from what was negotiated; ``screen`` is the output of a desktop."""
    kbps = wanted_kbps(config, hello, welcome.shard_bytes)
    codec = _codec(config, hello)
    encoder = EncoderConfig(
        encoder=choose_encoder(codec, config.encoder).name,
        mode=welcome.mode.checked(),
        bitrate=Bitrate.from_kbps(kbps),
        vbv_frames=config.vbv_frames,
        key_interval=config.key_interval,
        threads=config.encoder_threads,
    )
    return work.Prepare(
        source=(screen or config.source).model_dump(mode="json"),
        encoder=encoder.model_dump(mode="json"),
        key=welcome.key.hex() if welcome.encrypt else "",
        salt=welcome.salt.hex(),
        fec_scheme=config.fec_scheme,
        fec_percent=welcome.fec_percent,
        max_block_shards=welcome.max_block_shards,
        shard_bytes=welcome.shard_bytes,
        rate_kbps=kbps,
        burst_packets=config.pacing.burst_packets,
        packets_per_ms=config.pacing.packets_per_ms,
        rate_factor=config.pacing.rate_factor,
        queue_frames=max(config.queue_frames, _VERIFY_QUEUE_FRAMES if welcome.frames else 0),
        gso=config.gso,
        send_buffer_bytes=config.send_buffer_bytes,
        realtime=config.realtime,
        # A verification counts every frame by its number; filler would take numbers away.
        probe_kbps=0 if welcome.frames else kbps_in_shards(config.probe_limit.kbps, welcome.shard_bytes),
        frames=welcome.frames or config.frames,
        seconds=None if welcome.frames else config.seconds,
        artefacts=None if artefacts is None else str(artefacts.absolute()),
        record_frames=config.record_frames,
        clock_offset_ns=clock.offset_ns,
        clock_error_ns=clock.error_ns,
    )


class WorkerStream:
    """A stream worker behind the interface that a session wants.

    ``on_message`` gets Ready, Progress, Logged, ModeInForce, Ended and Failed; ``on_exit`` the exit status, or
    ``None`` when the stream was stopped before it had a worker; ``on_loss`` the client's loss reports, parts per
    million. FEC follows them from ``fec_percent`` on, never below ``fec_floor`` if there is one; ``packets_sent``
    gives the stream's count as last heard. No rate is above ``max_kbps``. The worker starts with :meth:`launch` and
    does nothing until :meth:`prepare`; what it is told before is kept for it. ``screen_for`` gives a desktop's output
    another mode and returns what to capture then.
    """

    def __init__(
        self,
        *,
        screen_for: Callable[[Mode], Awaitable[ScreenSpec]] | None = None,
        max_kbps: int,
        fec_percent: int,
        fec_floor: int | None,
        packets_sent: Callable[[], int],
        on_loss: Callable[[int], None],
        on_message: Callable[[Any], None],
        on_exit: Callable[[int | None], None],
    ) -> None:
        self._max_kbps = max_kbps
        self._fec = FecChoice(fec_percent, fec_floor)
        self._packets_sent = packets_sent
        self._on_loss = on_loss
        self._on_message = on_message
        self._on_exit = on_exit
        self._process: WorkerProcess | None = None
        self._stopped = False
        self._screen_for = screen_for
        self._held: list[Any] | None = []
        self._data_socket: socket.socket | None = None
        self._changes: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._ready_timer: asyncio.TimerHandle | None = None

    @property
    def launched(self) -> bool:
        """Whether it has, or had, a worker."""
        return self._process is not None

    def launch(self) -> int:
        """Start the worker; return its process id. Raises ``CapabilityError`` when there can be no process."""
        self._process = WorkerProcess(WORKER_MODULE, work.VOCABULARY, self._received, self._on_exit)
        self._ready_timer = asyncio.get_running_loop().call_later(READY_LIMIT_S, self._process.kill)
        return self._process.pid

    def prepare(self, order: work.Prepare) -> None:
        """Let the worker open its source and encoder; what it was told meanwhile follows."""
        assert self._process is not None
        self._process.send(order)
        held, self._held = self._held or [], None
        for message in held:
            self._process.send(message)
        if self._data_socket is not None:
            self._process.send(work.Begin(), [self._data_socket.fileno()])
            self._drop_data_socket()

    def begin(self, data_socket: socket.socket) -> None:
        """Hand the connected data socket over."""
        if self._held is None and self._process is not None:
            self._process.send(work.Begin(), [data_socket.fileno()])
        elif not self._stopped:
            self._data_socket = data_socket.dup()

    def request_keyframe(self, rtt_ns: int) -> None:
        """Arm recovery."""
        self._send(work.WantKeyframe(rtt_ns))

    def set_bitrate(self, kbps: int) -> int:
        """Encode and pace for another rate, as far as encoders go; return what that is."""
        kbps = min(kbps, self._max_kbps)
        self._send(work.UseBitrate(kbps))
        return kbps

    def report_loss(self, loss_ppm: int) -> None:
        """Follow the loss with FEC, where that is asked for."""
        self._on_loss(loss_ppm)
        self._use_fec(self._fec.reported(loss_ppm, self._packets_sent()))

    def change_fec(self, percent: int, floor: int | None) -> None:
        """Protect the next frames with ``percent``, and follow loss above ``floor`` where there is one."""
        self._use_fec(self._fec.change(percent, floor))

    def set_mode(self, mode: Mode) -> None:
        """Stream another mode."""
        if self._screen_for is None:
            self._send(work.UseMode(mode))
        else:
            change = asyncio.get_running_loop().create_task(self._change_screen(self._screen_for, mode))
            self._changes.add(change)
            change.add_done_callback(self._changes.discard)

    def probe(self, target_kbps: int, duration_ms: int) -> None:
        """Send filler in place of frames."""
        self._send(work.SendProbe(target_kbps, duration_ms))

    def stop(self) -> None:
        """End the worker within two seconds."""
        if self._ready_timer is not None:
            self._ready_timer.cancel()
        self._held = []
        self._drop_data_socket()
        if self._process is not None:
            self._process.stop()
        elif not self._stopped:
            asyncio.get_running_loop().call_soon(self._on_exit, None)
        self._stopped = True

    async def _change_screen(self, screen_for: Callable[[Mode], Awaitable[ScreenSpec]], mode: Mode) -> None:
        try:
            # One by one, so that the last that was asked for is the last that is made.
            async with self._changing:
                screen = await screen_for(mode)
        except PunktfunkError:
            # Without a source of its own the worker scales what it captures already.
            self._send(work.UseMode(mode))
        else:
            self._send(work.UseMode(mode, screen.model_dump(mode="json")))

    def _use_fec(self, percent: int | None) -> None:
        if percent is not None:
            self._send(work.UseFec(percent))

    def _send(self, message: Any) -> None:
        if self._held is None and self._process is not None:
            self._process.send(message)
        elif self._held is not None and not isinstance(message, work.WantKeyframe):
            # The first frame is a key frame anyway, and of rates and percentages the last one counts.
            if isinstance(message, work.UseBitrate | work.UseFec):
                self._held = [held for held in self._held if type(held) is not type(message)]
            self._held.append(message)

    def _drop_data_socket(self) -> None:
        if self._data_socket is not None:
            self._data_socket.close()
            self._data_socket = None

    def _received(self, message: Any) -> None:
        if isinstance(message, work.Ready | work.Failed) and self._ready_timer is not None:
            self._ready_timer.cancel()
        self._on_message(message)


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
            strip.layout(mode.width, mode.height)
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
