"""Who streams from a host, whatever the wire: capacity, numbers, workers, reports and endings.

A wire brings a :class:`~punktfunk.host.client_session.ClientSession` for each of its connections, and a
:class:`~punktfunk.host.client_session.StreamRequest` for a stream that it has agreed on with a client. It knows codes
and bytes; what is counted, limited and shown stands here.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

from punktfunk import log
from punktfunk.addresses import source_of
from punktfunk.ending import EndReason
from punktfunk.errors import PunktfunkError
from punktfunk.host import notices
from punktfunk.host.capacity import Claimant
from punktfunk.host.capacity_loop import CapacityEvents, CapacityLoop
from punktfunk.host.client_session import ClientSession, Remote, StreamRequest
from punktfunk.host.config import HostConfig
from punktfunk.host.desktop import DesktopPool, OutputLease
from punktfunk.host.encoder_retry import EncoderRetry
from punktfunk.host.history import SessionHistory
from punktfunk.host.peripherals.router import InputSink, Peripherals
from punktfunk.host.session_report import SessionReport
from punktfunk.host.stream import messages
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.host.stream.returning import Returning
from punktfunk.host.stream.sources import Shown
from punktfunk.host.stream.spec import RecordOptions
from punktfunk.input import FromClient
from punktfunk.printable import device_name

CLOSE_LIMIT_S = 1.9
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
"""By which programs end that do wrong, and not because somebody has ended them."""


class Sessions:
    """The streams of a host and their workers; belongs to one event loop.

    ``artefacts`` is the folder of what workers leave behind. ``input_sink`` gets input in place of ``desktop``.
    """

    def __init__(
        self,
        *,
        desktop: DesktopPool | None,
        input_sink: InputSink | None,
        artefacts: Callable[[], Path | None],
    ) -> None:
        self.history = SessionHistory()
        """Sessions that got a stream: their reports as far as they are kept, and what all of them add up to."""
        self.on_change: Callable[[SessionReport], None] = lambda _report: None
        """Called in the event loop when a session begins, changes (about once a second) and has ended."""
        self.peripherals = Peripherals(self._listening, input_sink=input_sink)
        self._desktop = desktop
        self._artefacts_of = artefacts
        self._encoders = EncoderRetry()
        self._capacity: CapacityLoop[ClientSession] | None = None
        self._requests: dict[ClientSession, StreamRequest] = {}
        """Of streams that have no worker yet."""
        self._streams: dict[ClientSession, tuple[WorkerStream, SessionReport]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._closing = False
        self._senders: frozenset[str] = frozenset()

    def open(self, max_sessions: int, senders: Collection[str]) -> None:
        """Begin to let clients in; their streams leave by one of ``senders``, ``module:function`` each."""
        self._senders = frozenset(senders)
        self._capacity = CapacityLoop(
            max_sessions,
            CapacityEvents(
                expired=lambda session: session.end(EndReason.NOT_STARTED),
                superseded=lambda session: session.end(EndReason.SUPERSEDED),
                unlaunched=self._unlaunched,
            ),
        )

    def allow(self, max_sessions: int) -> None:
        """Let so many streams run from now on; none is ended."""
        if self._capacity is not None:
            self._capacity.allow(max_sessions)

    def start_no_more(self) -> None:
        """Let no worker start any more."""
        self._closing = True
        self.capacity.close()

    async def stop(self) -> None:
        """End all workers, and wait until they are gone, for as long as they may take."""
        for worker, _ in self._streams.values():
            worker.stop()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S), self._changed:
                await self._changed.wait_for(lambda: not self._streams)
        except TimeoutError:
            log.get("host").error("a worker did not end in time")
        self.peripherals.nobody_streams()
        self.peripherals.kept_pads.close()

    @property
    def capacity(self) -> CapacityLoop[ClientSession]:
        """Reservations, streams and workers of a host that has begun to let clients in."""
        assert self._capacity is not None
        return self._capacity

    def takes_touch(self, own_desktop: DesktopPool | None) -> bool:
        """Whether a stream of that desktop, or of the one that all share, takes fingers and pens as what they are."""
        return self.peripherals.takes_touch(own_desktop or self._desktop)

    @property
    def tells_cursor(self) -> bool:
        """Whether streams of the desktop that all share can have the pointer told beside their pictures."""
        return self._desktop is not None and self._desktop.tells_cursor

    def reserve(self, session: ClientSession) -> None:
        """Hold a place for a client that asks for a stream; raise ``CapacityFullError`` when there is none."""
        assert session.peer is not None
        self.capacity.reserve(session, _claimant(session.peer))

    def start(self, session: ClientSession, request: StreamRequest) -> WorkerStream:
        """Give a client that starts its stream, whose worker follows as soon as capacity has one for it.

        Raises ``CapacityFullError`` when others were faster, or its reservation has expired.
        """
        self.capacity.start(session, lambda former: self._launch(session, former))
        report = self._report(session, request)
        lease = report._lease
        worker = WorkerStream(
            senders=self._senders,
            screen_for=None if lease is None else lease.change,
            max_kbps=request.max_kbps,
            fec_percent=request.fec_percent,
            fec_floor=request.fec_floor,
            packets_sent=lambda: report.counters.get("packets_sent", 0),
            on_loss=lambda loss_ppm: _loss_reported(report, loss_ppm),
            on_message=lambda message: self._worker_says(session, report, message),
            on_exit=lambda status: self._worker_gone(session, report, status),
        )
        if lease is not None:
            report._returning = Returning(
                lambda: lease.renew(report.mode),
                worker.use_source,
                back=lambda: self._desktop_back(session, report),
                given_up=lambda error: self._given_up(session, report, error),
            )
        self._requests[session] = request
        self.history.begin(report)
        self._streams[session] = (worker, report)
        self.peripherals.session_begins(report)
        self.on_change(report)
        return worker

    def received(self, session: ClientSession, what: FromClient) -> None:
        """Pass on what a client that streams has sent beside its control connection."""
        report = self.report_of(session)
        if report is not None:
            self.peripherals.take(session, report, what)

    def reconfigure(self, former: HostConfig, config: HostConfig) -> None:
        """Apply as far as possible to the streams that run what has become another."""
        self.allow(config.max_sessions)
        if self._desktop is not None:
            self._desktop.mirrors = config.outputs == "mirror"
        rate = config.bitrate if config.bitrate != former.bitrate else None
        for worker, report in self._streams.values():
            if rate is not None:
                worker.set_bitrate(rate.kbps)
            floor = config.fec_floor_percent if report._tells_loss else None
            report.adaptive_fec = floor is not None
            worker.change_fec(config.fec_percent, floor)

    def over(self, session: ClientSession, reason: str) -> None:
        """Take note of a connection's end; its report is complete once its worker is gone too."""
        self.leave(session)
        if session in self._streams:
            report = self._streams[session][1]
            report.reason = reason
            report._session_gone = True
            self.peripherals.session_over(session, report)
            self._complete(session, report)

    def leave(self, session: ClientSession) -> None:
        """Free what a session that ends has of the host's capacity, but for its worker."""
        self._requests.pop(session, None)
        self.capacity.leave(session)

    def end(self, session: ClientSession, reason: EndReason) -> None:
        """End a session from the host's side."""
        session.end(reason)
        self.leave(session)

    def end_number(self, number: int) -> bool:
        """End one stream from the host's side; ``False`` when no stream of that number runs."""
        for session, (_, report) in list(self._streams.items()):
            if report.number == number and not session.ending:
                self.end(session, EndReason.ENDED_AT_HOST)
                return True
        return False

    def report_of(self, session: ClientSession) -> SessionReport | None:
        """Return the report of a session that streams and does not end."""
        found = self._streams.get(session)
        return None if found is None or session.ending else found[1]

    def live(self) -> list[SessionReport]:
        """Return the reports of the streams that run, oldest first; they change as their workers report."""
        return [report for session, (_, report) in self._streams.items() if not session.ending]

    def all(self) -> list[SessionReport]:
        """Return the reports of all streams that are not over, those included that are ending."""
        for session, (_, report) in self._streams.items():
            if session.ending:
                report.state = "ending"
        return [report for _, report in self._streams.values()]

    def workers(self) -> list[tuple[WorkerStream, SessionReport]]:
        """Return the streams that are not over, with their reports."""
        return list(self._streams.values())

    async def gone(self, desktop: DesktopPool) -> None:
        """Wait until no stream shows that desktop any more, workers included, for as long as these may take."""

        def shown() -> bool:
            return any(report.desktop is desktop for _, report in self._streams.values())

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S), self._changed:
                await self._changed.wait_for(lambda: not shown())

    async def ended(self, count: int) -> None:
        """Wait until ``count`` streams have ended, workers included."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.history.over >= count)

    def _listening(self) -> Iterator[tuple[ClientSession, SessionReport]]:
        """Give the streams that can be sent something."""
        return ((session, report) for session, (_, report) in self._streams.items() if not session.ending)

    def _unlaunched(self, session: ClientSession, error: PunktfunkError) -> None:
        """End a stream whose worker could not be started, or not be told what to do."""
        _, report = self._streams[session]
        report.failed, report.stream_reason = True, error.cause
        session.stream_failed(f"stream failed: {error.cause}")
        self.leave(session)

    def _worker_says(self, session: ClientSession, report: SessionReport, message: messages.Notice) -> None:
        match message:
            case messages.Progress(counters, stages, rates):
                report.counters, report.stages, report.rates = counters, stages, rates
                report.bitrate_kbps, report.fec_percent = counters["rate_kbps"], counters["fec_percent"]
                report.state = "ending" if session.ending else "streaming"
                self.on_change(report)
            case messages.CursorTold():
                session.send_cursor(message.update)
            case (
                messages.FrameRate()
                | messages.EncoderReplaced()
                | messages.SourceLost()
                | messages.SourceTaken()
            ):
                notices.take(session, report, message)
                self.on_change(report)
            case messages.HandedOver():
                notices.handed_over(session, report, message)
                self.on_change(report)
            case messages.Logged(level, concern, event, fields):
                _relay(level, concern, event, {**fields, "session": report.number})
            case messages.Ended(reason, counters):
                report.counters, report.stream_reason = counters, reason
                session.stream_finished(f"stream ended: {reason}")
                self.leave(session)
            case messages.Failed(code, cause, hint, held_by):
                report.failed, report.stream_reason = True, cause
                notices.suspected(session, held_by, "stood still in a picture")
                session.log.error("stream failed", code=code, cause=cause, hint=hint)
                session.stream_failed(f"stream failed: {cause}")
                self.leave(session)
            case messages.PortRefused(count, first_ns, last_ns):
                session.data_refused(count, first_ns, last_ns)
            case messages.ModeOutcome(accepted, mode):
                report.mode = mode if accepted else report.mode
                session.mode_outcome(accepted, mode)
            case messages.ProbeSent(goodput_bytes, access_units, duration_ms, packets_sent, send_drops):
                session.probe_over(goodput_bytes, access_units, duration_ms, packets_sent, send_drops)
            case messages.Ready(codec, encoder):
                report.codec, report.encoder = codec, encoder
                session.log.info("worker ready", pid=report.worker_pid, codec=codec, encoder=encoder)
                self.on_change(report)
                if not self._closing and not session.ending:
                    # Not earlier: the start of recorder and worker at once takes longer than one by one.
                    self.peripherals.listen(session, report)

    def _given_up(self, session: ClientSession, report: SessionReport, error: PunktfunkError) -> None:
        """End a stream whose pictures did not come back."""
        report.failed, report.stream_reason = True, error.cause
        session.log.error("stream failed", code=error.code, cause=error.cause, hint=error.hint)
        session.stream_failed(f"stream failed: {error.cause}")
        self.leave(session)

    def _desktop_back(self, session: ClientSession, report: SessionReport) -> None:
        notices.desktop_back(session, report)
        self.on_change(report)
        if not self._closing and not session.ending:
            # A desktop that was opened again plays elsewhere.
            self.peripherals.listen(session, report)

    def _worker_gone(self, session: ClientSession, report: SessionReport, status: int | None) -> None:
        """Take note of the end of a worker, or (without a status) that a stream ended before it had one."""
        report._worker_gone = True
        if report._returning is not None:
            report._returning.cancel()
        if status is not None:
            self.capacity.worker_gone()
            self.leave(session)
        if status is not None and not (report.stream_reason or report._session_gone or session.ending):
            report.failed, report.stream_reason = True, _exit_words(status)
            session.log.error("worker gone", pid=report.worker_pid, status=status)
            if -status in _CRASHES:
                # The one part of a stream that runs code of a driver is its encoder.
                notices.suspected(
                    session, report.encoder or report._chosen, "was at work when its stream crashed"
                )
            session.stream_failed(report.stream_reason)
        self._complete(session, report)

    def _complete(self, session: ClientSession, report: SessionReport) -> None:
        if not (report._worker_gone and report._session_gone):
            return
        report.stream_reason = report.stream_reason or "stopped"
        self._streams.pop(session, None)
        if not self._streams:
            self.peripherals.nobody_streams()
        self.history.end(report)
        report.state = "ended"
        self.on_change(report)
        if report._lease is not None:
            report._lease.end()
        self._keep(self._announce())

    def _report(self, session: ClientSession, request: StreamRequest) -> SessionReport:
        assert session.peer is not None
        number = self.history.next_number
        artefacts = self._artefacts(number)
        measured = artefacts is not None and request.record_frames
        return SessionReport(
            number,
            session.peer,
            request.mode,
            artefacts,
            name=device_name(request.name),
            source=request.source,
            bitrate_kbps=request.bitrate_kbps,
            fec_scheme=request.fec_scheme,
            fec_percent=request.fec_percent,
            adaptive_fec=request.fec_floor is not None,
            _tells_loss=request.tells_loss,
            _sound=request.sound,
            _host_audio=request.host_audio,
            _keep_pads=request.keep_pads,
            _lease=self._lease(request, read_marker=measured),
        )

    def _lease(self, request: StreamRequest, *, read_marker: bool) -> OutputLease | None:
        if self._desktop is None and request.open_desktop is None:
            return None
        desktop = self._desktop if request.open_desktop is None else None
        return OutputLease(
            desktop,
            request.open_desktop,
            read_marker=read_marker,
            scale=request.scale,
            separate_cursor=request.separate_cursor,
        )

    def _launch(self, session: ClientSession, former: list[ClientSession]) -> None:
        """Start a stream's worker, and have a desktop's output made for it meanwhile."""
        worker, report = self._streams[session]
        request = self._requests.pop(session)

        def go_on(shown: Shown | None) -> None:
            folder = report.artefacts
            records = (
                None
                if folder is None
                else RecordOptions(folder=folder.absolute(), frames=request.record_frames)
            )
            try:
                screen, connection = (None, None) if shown is None else (shown.screen, shown.connection)
                spec = request.spec(records, screen)
                if spec.source.kind != "synthetic":
                    report._chosen = spec.encoder.encoder
                    if spec.left_alone:
                        notices.left_alone(session, report, spec.encoder.encoder, spec.left_alone)
                worker.prepare(spec, connection)
            except PunktfunkError as error:
                # The worker is there, and its end will be told: raised here, it would count as gone twice.
                self._unlaunched(session, error)

        report.worker_pid = worker.launch()
        encodes = request.source != "synthetic"
        if report._lease is None and not (encodes and self._encoders.due):
            go_on(None)
        else:
            self._keep(self._prepare(session, report, former, go_on, encodes=encodes))

    async def _prepare(
        self,
        session: ClientSession,
        report: SessionReport,
        former: list[ClientSession],
        go_on: Callable[[Shown | None], None],
        *,
        encodes: bool,
    ) -> None:
        """Ask for what may have changed of the encoders, have an output made, and let the worker capture that.

        A client that takes over wants the output that it had, with its windows, once that has been given back.
        """
        if encodes:
            await self._encoders.settle()
        lease = report._lease
        if lease is None:
            if not session.ending:
                go_on(None)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S), self._changed:
                await self._changed.wait_for(lambda: not any(earlier in self._streams for earlier in former))
        try:
            shown = await lease.begin(report.mode)
        except PunktfunkError as error:
            report.failed, report.stream_reason = True, error.cause
            session.stream_failed(f"stream failed: {error}")
            self.leave(session)
        else:
            with contextlib.closing(shown):
                if not session.ending:
                    go_on(shown)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the event loop's other work; the loop itself would not keep it alive."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _artefacts(self, number: int) -> Path | None:
        folder = self._artefacts_of()
        if folder is None:
            return None
        return folder if number == 1 else folder / f"stream-{number}"


def _loss_reported(report: SessionReport, loss_ppm: int) -> None:
    report.loss_reports += 1
    report.loss_ppm = loss_ppm


def _relay(level: str, concern: str, event: str, fields: dict[str, Any]) -> None:
    """Write a worker's line to the log of this process."""
    say = getattr(log.get(concern), level if level in log.LEVELS else "error")
    say(event, **fields)


def _claimant(peer: Remote) -> Claimant:
    """Name a client by its certificate, which nobody else can come with, or else by where it comes from."""
    if peer.fingerprint is not None:
        return Claimant(peer.fingerprint, proven=True)
    return Claimant(source_of(peer.address[0]), proven=False)


def _exit_words(status: int) -> str:
    if status < 0:
        return f"worker killed by signal {-status}"
    return f"worker ended with status {status} before the stream did"
