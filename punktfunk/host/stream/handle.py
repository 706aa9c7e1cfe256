"""A stream as the host sees it: what can be asked of it, carried out by a worker process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection

from punktfunk.errors import PunktfunkError
from punktfunk.host.stream import messages
from punktfunk.host.stream.adaptive_fec import FecChoice
from punktfunk.host.stream.sources import Shown
from punktfunk.host.stream.spec import StreamSpec
from punktfunk.process.worker_process import WorkerProcess
from punktfunk.units import Mode

WORKER_MODULE = "punktfunk.host.stream.worker"
READY_LIMIT_S = 15.0
"""A worker that has not opened its source and encoder by then is given up."""


def sender_arguments(senders: Collection[str]) -> list[str]:
    """Return the arguments that tell a worker by which senders its stream may leave."""
    return [word for sender in senders for word in ("--sender", sender)]


class WorkerStream:
    """A stream worker behind the interface that a session wants.

    ``on_message`` gets Ready, Progress, Logged, ModeOutcome, Ended and Failed; ``on_exit`` the exit status, or
    ``None`` when the stream was stopped before it had a worker; ``on_loss`` the client's loss reports, parts per
    million. FEC follows them from ``fec_percent`` on, never below ``fec_floor`` if there is one; ``packets_sent``
    gives the stream's count as last heard. No rate is above ``max_kbps``. The worker starts with :meth:`launch` and
    does nothing until :meth:`prepare`; what it is told before is kept for it. ``screen_for`` gives a desktop's output
    another mode and returns what to capture then; ``prepare`` passes on the connection that the first screen is reached
    by. The worker opens no sender but one of ``senders``.
    """

    def __init__(
        self,
        *,
        senders: Collection[str],
        screen_for: Callable[[Mode], Awaitable[Shown]] | None = None,
        max_kbps: int,
        fec_percent: int,
        fec_floor: int | None,
        packets_sent: Callable[[], int],
        on_loss: Callable[[int], None],
        on_message: Callable[[messages.Notice], None],
        on_exit: Callable[[int | None], None],
    ) -> None:
        self._senders = senders
        self._max_kbps = max_kbps
        self._fec = FecChoice(fec_percent, fec_floor)
        self._packets_sent = packets_sent
        self._on_loss = on_loss
        self._on_message = on_message
        self._on_exit = on_exit
        self._process: WorkerProcess | None = None
        self._stopped = False
        self._screen_for = screen_for
        self._held: list[tuple[messages.Change, socket.socket | None]] | None = []
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
        self._process = WorkerProcess(
            WORKER_MODULE, messages.VOCABULARY, self._received, self._on_exit, sender_arguments(self._senders)
        )
        self._ready_timer = asyncio.get_running_loop().call_later(READY_LIMIT_S, self._process.kill)
        return self._process.pid

    def prepare(self, spec: StreamSpec, connection: socket.socket | None = None) -> None:
        """Let the worker open its source and encoder; what it was told meanwhile follows."""
        assert self._process is not None
        self._pass_on(messages.Prepare(spec.model_dump(mode="json")), connection)
        held, self._held = self._held or [], None
        for message, screen_connection in held:
            self._pass_on(message, screen_connection)
        if self._data_socket is not None:
            self._process.send(messages.Begin(), [self._data_socket.fileno()])
            self._drop_data_socket()

    def begin(self, data_socket: socket.socket) -> None:
        """Hand the connected data socket over."""
        if self._held is None and self._process is not None:
            self._process.send(messages.Begin(), [data_socket.fileno()])
        elif not self._stopped:
            self._data_socket = data_socket.dup()

    def request_keyframe(self, rtt_ns: int) -> None:
        """Arm recovery."""
        self._send(messages.WantKeyframe(rtt_ns))

    def set_bitrate(self, kbps: int) -> int:
        """Encode and pace for another rate, as far as encoders go; return what that is."""
        kbps = min(kbps, self._max_kbps)
        self._send(messages.UseBitrate(kbps))
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
            self._send(messages.UseMode(mode))
        else:
            change = asyncio.get_running_loop().create_task(self._change_screen(self._screen_for, mode))
            self._changes.add(change)
            change.add_done_callback(self._changes.discard)

    def use_source(self, shown: Shown) -> None:
        """Show another screen in place of one that has gone."""
        self._send(messages.UseSource(shown.screen.model_dump(mode="json")), shown.connection)

    def separate_cursor(self, separate: bool) -> None:
        """Have the pointer told beside the pictures, or painted again."""
        self._send(messages.UseCursor(separate))

    def probe(self, target_kbps: int, duration_ms: int) -> None:
        """Send filler in place of frames."""
        self._send(messages.SendProbe(target_kbps, duration_ms))

    def stop(self) -> None:
        """End the worker within two seconds."""
        if self._ready_timer is not None:
            self._ready_timer.cancel()
        for _, connection in self._held or []:
            if connection is not None:
                connection.close()
        self._held = []
        self._drop_data_socket()
        if self._process is not None:
            self._process.stop()
        elif not self._stopped:
            asyncio.get_running_loop().call_soon(self._on_exit, None)
        self._stopped = True

    async def _change_screen(self, screen_for: Callable[[Mode], Awaitable[Shown]], mode: Mode) -> None:
        try:
            # One by one, so that the last that was asked for is the last that is made.
            async with self._changing:
                shown = await screen_for(mode)
        except PunktfunkError:
            # Without a source of its own the worker scales what it captures already.
            self._send(messages.UseMode(mode))
        else:
            self._send(messages.UseMode(mode, shown.screen.model_dump(mode="json")), shown.connection)

    def _use_fec(self, percent: int | None) -> None:
        if percent is not None:
            self._send(messages.UseFec(percent))

    def _send(self, message: messages.Change, connection: socket.socket | None = None) -> None:
        if self._held is None and self._process is not None:
            self._pass_on(message, connection)
        elif self._held is None or self._stopped:
            if connection is not None:
                connection.close()
        elif not isinstance(message, messages.WantKeyframe):
            # The first frame is a key frame anyway, and of rates and percentages the last one counts.
            if isinstance(message, messages.UseBitrate | messages.UseFec | messages.UseCursor):
                self._held = [held for held in self._held if type(held[0]) is not type(message)]
            self._held.append((message, connection))

    def _pass_on(self, message: messages.Change | messages.Prepare, connection: socket.socket | None) -> None:
        """Send a message to the worker, which gets a descriptor of its own; ours is closed."""
        assert self._process is not None
        if connection is None:
            self._process.send(message)
            return
        with connection:
            self._process.send(message, [connection.fileno()])

    def _drop_data_socket(self) -> None:
        if self._data_socket is not None:
            self._data_socket.close()
            self._data_socket = None

    def _received(self, message: messages.Notice) -> None:
        if isinstance(message, messages.Ready | messages.Failed) and self._ready_timer is not None:
            self._ready_timer.cancel()
        self._on_message(message)
