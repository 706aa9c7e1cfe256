"""``GameStreamClient``: one stream from a GameStream host, with its receive worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from punktfunk import log
from punktfunk.client import worker_summary
from punktfunk.client.ending import End
from punktfunk.client.gamestream import messages
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.control import GENERIC, ControlConnection
from punktfunk.client.gamestream.host import GameHost, LaunchWish, RtspPlace, StreamKey, resolve
from punktfunk.client.gamestream.reply import ListedApp, ServerInfo
from punktfunk.client.gamestream.rtsp import Agreed, RtspSession
from punktfunk.client.gamestream.wish import StreamChoice
from punktfunk.client.messages import Drain, Ended, Failed, NeedKeyframe, Progress, Ready, Up
from punktfunk.client.summary import Summary
from punktfunk.client.worker_signs import until_worker
from punktfunk.errors import PunktfunkError, StatusError, UsageError
from punktfunk.gamestream.control import GRACEFUL, FecStatus, HdrMode, HostMessage, Termination
from punktfunk.gamestream.input import EnableHaptics
from punktfunk.gamestream.input_encoder import channel_of, encode, unreliable
from punktfunk.gamestream.surround import CHANNEL_MASKS
from punktfunk.input import InputEvent, InputKind, PadFeedback, PadInput
from punktfunk.process.worker_process import WorkerProcess

WORKER_MODULE: Final = "punktfunk.client.gamestream.worker"
START_LIMIT_S: Final = 30.0
"""Of the worker's imports, for which nobody waits but this client."""
READY_LIMIT_S: Final = 9.0
"""The host waits 10 s for the next step once its app is launched (gamestream section 4.3)."""
WORKER_END_LIMIT_S: Final = 2.0


class GameStreamClient:
    """Launch or resume an app and receive its stream until the context ends; the app goes on unless told otherwise.

    Entering raises ``HandshakeError``, ``UntrustedPeerError``, ``StatusError``, ``ProtocolError`` or ``ConfigError``.
    Belongs to one event loop, whose thread has to live as long as the client. ``on_progress`` is called about once a
    second, ``on_feedback`` with what the host has for the pads.
    """

    def __init__(self, config: GameStreamConfig) -> None:
        self.config = config
        self.on_progress: Callable[[Progress], None] = lambda _progress: None
        self.on_feedback: Callable[[PadFeedback], None] = lambda _feedback: None
        self.info: ServerInfo | None = None
        """What the host said of itself."""
        self.choice: StreamChoice | None = None
        """What was announced."""
        self.resumed = False
        """Whether the app ran already."""
        self.hdr: HdrMode | None = None
        """What the host said last of HDR."""
        self.feedback: list[PadFeedback] = []
        """What the host said to the pads, the first thousand."""
        self._log = log.get("client.gamestream")
        self._host: GameHost | None = None
        self._control: ControlConnection | None = None
        self._worker: WorkerProcess | None = None
        self._up, self._ready, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ended = asyncio.Event()
        self._summary: Summary | None = None
        self._closed_as: tuple[End, str] | None = None
        self._progress: Progress | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._modifiers = 0

    async def __aenter__(self) -> Self:
        # The worker's imports take longer than the first requests: they run side by side.
        self._worker = WorkerProcess(
            WORKER_MODULE, messages.VOCABULARY, self._hear_worker, self._worker_exited
        )
        try:
            await self._begin(self._worker)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    @property
    def control_counters(self) -> dict[str, int]:
        """Control messages sent, received and dropped, by name."""
        return dict(self._control.counters) if self._control else {}

    @property
    def worker_pid(self) -> int:
        """Process id of the receive worker."""
        return self._worker.pid if self._worker else 0

    async def finished(self) -> Summary:
        """Wait for the end of the stream, however it comes, and return the summary."""
        await self._ended.wait()
        assert self._summary is not None
        return self._summary

    def request_keyframe(self) -> None:
        """Ask for an IDR frame."""
        if self._control is not None:
            self._control.request_idr()

    def send(self, event: InputEvent | PadInput | EnableHaptics) -> None:
        """Send input; raise ``ValueError`` for what this wire has no message for."""
        if isinstance(event, InputEvent):
            self._track(event)
        if self._control is not None:
            payload = encode(event, modifiers=self._modifiers)
            self._control.send_input(payload, channel_of(event), reliable=not unreliable(event))

    def _track(self, event: InputEvent) -> None:
        """Keep which modifiers are down: each key says it of all (gamestream section 11.2)."""
        bit = _MODIFIERS.get(event.code, 0)
        if event.kind is InputKind.KEY_DOWN:
            self._modifiers |= bit
        elif event.kind is InputKind.KEY_UP:
            self._modifiers &= ~bit

    def stop(self) -> None:
        """End the stream from this side; :meth:`finished` returns once the worker has left its artefacts."""
        self._drain(End.STOPPED, "stopped by the client")

    async def _begin(self, worker: WorkerProcess) -> None:
        config, key = self.config, StreamKey.draw()
        self._host = GameHost(await resolve(config.address), config.state_dir)
        address = self._host.address[0]
        self.info = info = await self._host.info_as_paired()
        # A host that has launched does not wait for long: a worker that is slow, or comes to nothing, launches nothing.
        await self._until_worker(self._up, START_LIMIT_S, "start")
        place = await self._launched(self._host, info, key)
        source = _source_towards(address, place.port)
        rtsp = RtspSession(
            address, place, key.key, high_quality_sound=config.high_quality_sound, source=source
        )
        self.choice = choice = StreamChoice.of(config.wish, await rtsp.describe(), info.codec_modes)
        agreed = await rtsp.set_up()
        with (
            _connected_udp(address, agreed.video.port) as video,
            _connected_udp(address, agreed.audio.port) as sound,
        ):
            worker.send(self._order(key, agreed, choice), [video.fileno(), sound.fileno()])
        await self._until_worker(self._ready, READY_LIMIT_S, "get ready")
        await rtsp.play(choice)
        self._control = control = await ControlConnection.open(
            (address, agreed.control_port), key.key, agreed.connect_data
        )
        control.on_message, control.on_closed = self._hear_host, self._control_over
        control.start()
        worker.send(messages.PingVideo())
        self._tell_round_trip()
        # What all clients say first (gamestream sections 5.6 and 11.3): rumble may come, and the pointer is here.
        for event in (EnableHaptics(), _wiggle(1), _wiggle(-1)):
            self.send(event)
        if config.seconds is not None:
            loop = asyncio.get_running_loop()
            self._end_timer = loop.call_later(config.seconds, self._drain, End.STOPPED, "time is over")

    async def _launched(self, host: GameHost, info: ServerInfo, key: StreamKey) -> RtspPlace:
        config = self.config
        wish = LaunchWish(
            config.mode,
            channels=config.channels,
            channel_mask=CHANNEL_MASKS[config.channels],
            host_audio=config.host_audio,
            encrypted_rtsp=config.encrypted_rtsp,
            keep_gamepads=config.keep_gamepads,
        )
        if info.busy and config.app is None:
            self.resumed = True
            return await host.resume(info.current_app, wish, key)
        app = chosen_app(await host.apps(), config.app)
        if info.busy and app.id == info.current_app:
            self.resumed = True
            return await host.resume(app.id, wish, key)
        if info.busy:
            raise StatusError(
                f"the host runs another app than {app.title!r}",
                f"end it first: punktfunk gamestream quit {config.address}",
                status=400,
            )
        return await host.launch(app.id, wish, key)

    def _order(self, key: StreamKey, agreed: Agreed, choice: StreamChoice) -> messages.Receive:
        config = self.config
        return messages.Receive(
            key=key.key.hex(),
            key_id=key.key_id,
            encrypted_video=choice.encrypted_video,
            encrypted_sound=choice.encrypted_sound,
            video_ping=agreed.video.ping.decode(),
            sound_ping=agreed.audio.ping.decode(),
            packet_bytes=choice.packet_bytes,
            codec=choice.codec.value,
            decode=config.decode,
            mode=config.mode,
            hold_undecodable=config.hold_undecodable,
            queue_frames=config.queue_frames,
            receive_buffer_bytes=config.receive_buffer_bytes,
            sound=choice.sound,
            read_marker=config.read_strip,
            reference=None if config.reference is None else config.reference.model_dump(mode="json"),
            reference_every=config.reference_every,
            recovery=config.recovery,
            artefacts=None if config.artefacts is None else str(config.artefacts.absolute()),
            record_frames=config.record_frames,
            out=None if config.out is None else str(config.out.absolute()),
        )

    async def _until_worker(self, sign: asyncio.Event, limit_s: float, what: str) -> None:
        await until_worker(sign, self._ended, limit_s, what, lambda: self._summary)

    def _hear_host(self, message: HostMessage) -> None:
        match message:
            case Termination(code):
                graceful = code == GRACEFUL
                words = "ended by the host" if graceful else f"the host ended with code {code:#010x}"
                self._drain(End.CLOSED if graceful else End.HOST_FAILED, words)
            case HdrMode():
                self.hdr = message
            case _:
                if len(self.feedback) < _MOST_FEEDBACK:
                    self.feedback.append(message)
                self.on_feedback(message)

    def _control_over(self, reason: str) -> None:
        silent = "silent" in reason
        self._log.error("control connection over", reason=reason)
        self._drain(End.HOST_SILENT if silent else End.HOST_GONE, reason)

    def _hear_worker(self, message: messages.Notice) -> None:
        match message:
            case Up():
                self._up.set()
            case Ready(receive_buffer_bytes):
                self._log.info("worker ready", pid=self.worker_pid, receive_buffer_bytes=receive_buffer_bytes)
                self._ready.set()
            case NeedKeyframe():
                self.request_keyframe()
                self._tell_round_trip()
            case messages.BlocksDamaged(blocks):
                for block in blocks:
                    self._report(FecStatus(*block))
            case Progress():
                self._progress = message
                self._tell_round_trip()
                self.on_progress(message)
            case Ended():
                self._end(worker_summary.told(message))
            case Failed(code, cause, hint):
                self._log.error("receive worker failed", code=code, cause=cause, hint=hint)
                self._end(worker_summary.untold(self._progress, End.FAILED, cause, hint))

    def _tell_round_trip(self) -> None:
        measured = self._control.round_trip_ns if self._control is not None else None
        if measured is not None and self._worker is not None:
            self._worker.send(messages.RoundTrip(measured))

    def _report(self, status: FecStatus) -> None:
        if self._control is not None:
            self._control.send(status, GENERIC, reliable=False)

    def _worker_exited(self, status: int) -> None:
        if self._summary is None:
            self._end(worker_summary.exited(self._progress, status, stopping=self._stopping))
        self._gone.set()

    def _drain(self, end: End, reason: str) -> None:
        """Have the worker take what is still on the way and end; the first reason counts."""
        if self._closed_as is not None:
            return
        self._closed_as = end, reason
        self._log.info("ending", reason=reason)
        # The control connection is closed when the worker is through: a host that hears of it stops within a frame.
        if self._worker is not None:
            self._worker.send(Drain(reason, end))

    def _end(self, summary: Summary) -> None:
        if self._summary is None:
            self._summary = summary
            self._ended.set()

    async def _leave(self) -> None:
        self._stopping = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        if self._control is not None:
            await self._control.close()
        if self._worker is not None:
            self._worker.stop()
            try:
                await asyncio.wait_for(self._gone.wait(), WORKER_END_LIMIT_S)
            except TimeoutError:
                self._worker.kill()
        self._end(Summary("stopped"))
        if self.config.quit_after and self._host is not None:
            # What is to be said of the stream is worth more than an app that stays.
            with contextlib.suppress(PunktfunkError):
                await self._host.quit()


def chosen_app(apps: list[ListedApp], wanted: str | None) -> ListedApp:
    """Return the app of that title or number, the first where none is named; raise ``UsageError`` for none."""
    if not apps:
        raise UsageError("the host has no apps", "add one there")
    if wanted is None:
        return apps[0]
    for app in apps:
        if app.title.casefold() == wanted.casefold() or str(app.id) == wanted:
            return app
    titles = ", ".join(app.title for app in apps[:8])
    raise UsageError(f"the host has no app {wanted!r}", f"it has: {titles}")


_MOST_FEEDBACK = 1000
_MODIFIERS: Final = {
    **dict.fromkeys((0x10, 0xA0, 0xA1), 1),
    **dict.fromkeys((0x11, 0xA2, 0xA3), 2),
    **dict.fromkeys((0x12, 0xA4, 0xA5), 4),
    **dict.fromkeys((0x5B, 0x5C), 8),
}


def _wiggle(by: int) -> InputEvent:
    return InputEvent(InputKind.MOUSE_MOVE, 0, by, by)


def _connected_udp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = socket.socket(family, socket.SOCK_DGRAM)
    try:
        end.connect((address, port))
    except BaseException:
        end.close()
        raise
    return end


def _source_towards(address: str, port: int) -> str:
    """Return this machine's address on the way to the host; nothing is sent for it."""
    with _connected_udp(address, port) as end:
        return str(end.getsockname()[0])
