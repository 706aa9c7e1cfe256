"""``punktfunk.Client``: one session with a host, with its receive worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from punktfunk import log
from punktfunk.client import messages, worker_summary
from punktfunk.client.config import ClientConfig
from punktfunk.client.cursor_feed import CursorFeed
from punktfunk.client.ending import End
from punktfunk.client.link_end import end_of
from punktfunk.client.request import dialects, hello_for, known_pin, load_identity, receive_order
from punktfunk.client.summary import Summary
from punktfunk.client.worker_signs import until_worker
from punktfunk.errors import HandshakeError, ResultsError
from punktfunk.input import InputEvent
from punktfunk.native import control
from punktfunk.native.client import ClientConnection, parse_host_port
from punktfunk.native.datagrams import Audio, CursorState, FromClient, FromHost
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import Welcome
from punktfunk.native.quic import Closed
from punktfunk.process.worker_process import WorkerProcess
from punktfunk.trust.open_trust import require_open_trust
from punktfunk.units import Bitrate, Mode

if TYPE_CHECKING:
    from punktfunk.client.sound import SoundLog

WORKER_MODULE = "punktfunk.client.worker"
UP_LIMIT_S = 9.0
READY_LIMIT_S = 9.0
"""The host allows 10 s from the connection to Hello, and 10 s from Hello to Start."""
_CLOSE_LIMIT_S = 1.9
SOUND_FILE = "sound.wav"
"""What was heard, in the folder of the artefacts."""


class Client:
    """Connect to a host and receive its stream until the context ends.

    Entering raises ``HandshakeError``, ``RejectedError``, ``UntrustedPeerError`` or ``ConfigError``. Belongs to
    one event loop, whose thread has to live as long as the client. ``on_progress`` is called about once a
    second with the worker's :class:`~punktfunk.client.messages.Progress`.
    """

    def __init__(self, address: str, config: ClientConfig) -> None:
        self.config = config
        self.address = parse_host_port(address)
        self.on_progress: Callable[[messages.Progress], None] = lambda _progress: None
        self.on_datagram: Callable[[FromHost], None] = lambda _datagram: None
        """Called with audio, rumble and HID output as they come."""
        self._log = log.get("client")
        kept = config.artefacts / SOUND_FILE if config.artefacts and config.record_frames else None
        self.sound = _sound_log(kept) if config.decode else None
        """What is heard; ``None`` where nothing is decoded."""
        self.cursor = CursorFeed(self._offer if config.present else None)
        """The pointer of a host that leaves it to this client (``config.cursor``)."""
        self._connection: ClientConnection | None = None
        self._worker: WorkerProcess | None = None
        self._worker_up = asyncio.Event()
        self._worker_ready = asyncio.Event()
        self._worker_gone = asyncio.Event()
        self._ended = asyncio.Event()
        self._summary: Summary | None = None
        self._closed_as: tuple[End, str, str] | None = None
        self._progress: messages.Progress | None = None
        self._first_mode_answer: asyncio.Future[control.ModeAnswered] | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        config = self.config
        pin = config.pin or known_pin(config, self.address)
        if pin is None:
            require_open_trust(config.trust, self.address[0])
        identity = await asyncio.to_thread(load_identity, config)
        # The worker's imports take longer than the QUIC handshake: they run side by side.
        self._worker = WorkerProcess(
            WORKER_MODULE, messages.VOCABULARY, self._worker_says, self._worker_exited
        )
        try:
            self._connection = await ClientConnection.open(
                self.address,
                identity,
                hello_for(config),
                dialects(config),
                pin=pin,
                idle_timeout_s=None if config.idle_timeout is None else config.idle_timeout.seconds,
                before_hello=self._until_worker_is_up,
            )
            await self._begin(self._connection)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    @property
    def welcome(self) -> Welcome:
        """What the host offered."""
        assert self._connection is not None
        assert self._connection.welcome is not None
        return self._connection.welcome

    @property
    def mode(self) -> Mode:
        """What the host offered to stream."""
        return self.welcome.mode.checked()

    @property
    def host_fingerprint(self) -> str:
        """Fingerprint of the host's certificate, for pinning."""
        peer = self._connection.peer if self._connection else None
        return (peer.fingerprint or "") if peer else ""

    @property
    def worker_pid(self) -> int:
        """Process id of the receive worker."""
        return self._worker.pid if self._worker else 0

    @property
    def control_counters(self) -> dict[str, int]:
        """Control messages sent, received and dropped, by name."""
        return self._connection.counters if self._connection else {}

    async def finished(self) -> Summary:
        """Wait for the end of the stream, however it comes, and return the summary."""
        await self._ended.wait()
        assert self._summary is not None
        return self._summary

    async def request_mode(self, mode: Mode) -> control.ModeAnswered:
        """Ask for another mode and return the host's answer; raise ``HandshakeError`` when none comes in 10 s."""
        assert self._connection is not None
        self._first_mode_answer = asyncio.get_running_loop().create_future()
        self._connection.request_mode(mode)
        try:
            async with asyncio.timeout(10):
                return await self._first_mode_answer
        except TimeoutError:
            raise HandshakeError("the host did not answer the mode request") from None

    def request_keyframe(self) -> None:
        """Ask for a key frame."""
        if self._connection is not None:
            self._connection.request_keyframe()

    def request_bitrate(self, bitrate: Bitrate) -> None:
        """Ask for another bitrate."""
        if self._connection is not None:
            self._connection.request_bitrate(bitrate.kbps)

    def send(self, datagram: FromClient) -> None:
        """Send input, microphone sound or rich input, unreliably; raise ``ValueError`` when it does not fit."""
        if self._connection is not None:
            self._connection.send_datagram(datagram)

    @property
    def datagrams(self) -> dict[str, int]:
        """Input, audio and feedback datagrams taken, dropped (by reason) and sent."""
        return dict(self._connection.datagrams) if self._connection else {}

    def stop(self) -> None:
        """End the session from this side; :meth:`finished` returns once the worker has left its artefacts."""
        self._finish("stopped by the client")

    async def _until_worker_is_up(self) -> None:
        await self._until_worker(self._worker_up, UP_LIMIT_S, "start")

    async def _until_worker(self, sign: asyncio.Event, limit_s: float, what: str) -> None:
        await until_worker(sign, self._ended, limit_s, what, lambda: self._summary)

    async def _begin(self, connection: ClientConnection) -> None:
        assert self._worker is not None
        connection.on_output = self._control_says
        connection.on_closed = self._connection_over
        connection.on_datagram = self._hear
        data = connection.bind_data_socket()
        self._worker.send(receive_order(self.config, connection), [data.fileno()])
        await self._until_worker(self._worker_ready, READY_LIMIT_S, "get ready")
        connection.start()
        if self.config.seconds is not None:
            self._end_timer = asyncio.get_running_loop().call_later(
                self.config.seconds, self._finish, "time is over"
            )

    def _hear(self, datagram: FromHost) -> None:
        if isinstance(datagram, Audio) and self.sound is not None:
            try:
                self.sound.take(datagram)
            except ResultsError as error:
                self._log.error("sound not recorded", cause=error.cause, hint=error.hint)
        if isinstance(datagram, CursorState):
            self.cursor.moved(datagram)
        self.on_datagram(datagram)

    def _offer(self, order: messages.CursorOrder) -> bool:
        return self._worker is not None and self._worker.offer(order)

    def _control_says(self, output: control.Output) -> None:
        match output:
            case control.ClockRoundsOver(estimate) if estimate is not None and self._worker is not None:
                self._log.info(
                    "clock known", offset_us=estimate.offset_ns // 1000, rtt_us=estimate.rtt_ns // 1000
                )
                self._worker.send(
                    messages.HostClock(
                        estimate.offset_ns, estimate.error_ns, estimate.rtt_ns, estimate.rounds
                    )
                )
            case control.CursorShaped(message):
                self.cursor.shaped(message)
            case control.ModeAnswered() if self._first_mode_answer and not self._first_mode_answer.done():
                self._first_mode_answer.set_result(output)
            case _:
                pass

    def _connection_over(self, closed: Closed) -> None:
        if self._stopping or self._summary is not None:
            return
        self._closed_as = end, reason, hint = end_of(closed)
        if end.failed:
            self._log.error("connection lost", end=end.value, cause=reason, hint=hint)
        else:
            self._log.info("connection over", reason=closed.sentence)
        if self._worker is not None:
            self._worker.send(messages.Drain(reason, end))

    def _worker_says(self, message: messages.Notice) -> None:
        match message:
            case messages.Up():
                self._worker_up.set()
            case messages.Ready(receive_buffer_bytes):
                self._log.info("worker ready", pid=self.worker_pid, receive_buffer_bytes=receive_buffer_bytes)
                self._worker_ready.set()
            case messages.NeedKeyframe() if self._connection is not None:
                self._connection.request_keyframe()
            case InputEvent():
                self.send(message)
            case messages.Loss(ppm) if self._connection is not None:
                self._connection.report_loss(ppm)
            case messages.Progress():
                self._progress = message
                self.on_progress(message)
            case messages.Ended():
                self._worker_ended(message)
            case messages.Failed(code, cause, hint):
                self._log.error("receive worker failed", code=code, cause=cause, hint=hint)
                self._end(worker_summary.untold(self._progress, End.FAILED, cause, hint))
            case _:
                pass

    def _worker_ended(self, message: messages.Ended) -> None:
        # A host that fails right after the last frame has failed, whatever became of the frames.
        closed_as, _, hint = self._closed_as or (None, "", "")
        self._end(worker_summary.told(message, failed=closed_as is End.HOST_FAILED, hint=hint))

    def _worker_exited(self, status: int) -> None:
        if self._summary is None:
            self._end(worker_summary.exited(self._progress, status, stopping=self._stopping))
        self._worker_gone.set()

    def _end(self, summary: Summary) -> None:
        if self._summary is not None:
            return
        connection = self._connection
        announced = connection.welcome.frames if connection and connection.welcome else 0
        counters = summary.counters
        if self.sound is not None and self.sound.counters["sound_packets"]:
            counters = {**counters, **self.sound.counters}
        self._summary = replace(summary, counters=counters, frames_announced=announced)
        self._log.info("datagrams", **self.datagrams)
        self._ended.set()
        if connection is not None:
            if summary.end is End.FAILED:
                connection.close(CloseCode.ERROR, "error")
            else:
                self._close(connection)

    def _finish(self, reason: str) -> None:
        """Close the connection; the worker drains, leaves its artefacts and reports the end."""
        self._log.info("ending", reason=reason)
        self._stopping = True
        if self._worker is not None:
            self._worker.send(messages.Drain(reason, End.STOPPED))
        if self._connection is not None:
            self._close(self._connection)

    def _close(self, connection: ClientConnection) -> None:
        if self.config.quit_after:
            connection.close(CloseCode.CLIENT_QUIT, "quit")
        else:
            connection.close(CloseCode.DONE, "done")

    async def _leave(self) -> None:
        self._stopping = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        if self._connection is not None:
            self._close(self._connection)
        if self._worker is not None:
            self._worker.stop()
            try:
                await asyncio.wait_for(self._worker_gone.wait(), _CLOSE_LIMIT_S)
            except TimeoutError:
                self._worker.kill()
        if self._connection is not None:
            self._connection.abandon()
        self.cursor.close()
        if self.sound is not None:
            self.sound.close()
        self._ended.set()
        if self._summary is None:
            self._summary = Summary("stopped")


def _sound_log(path: Path | None) -> SoundLog:
    # FFmpeg and NumPy take longer to load than all else here, and one that decodes nothing needs neither.
    from punktfunk.client.sound import SoundLog

    return SoundLog(path)
