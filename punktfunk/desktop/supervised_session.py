"""A session of our own: a compositor that a supervisor process holds, and the programs in it.

What a compositor has of its own, outputs or a stream of pictures, its class adds.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

from punktfunk.desktop import OnEnd, messages
from punktfunk.desktop.runtime import RuntimeFolder
from punktfunk.errors import (
    CapabilityError,
    ConfigError,
    DesktopError,
    DmaBufMissingError,
    GamescopeMissingError,
    PunktfunkError,
    SessionClosedError,
    UsageError,
    VulkanMissingError,
)
from punktfunk.interpreter import module_command
from punktfunk.process import interrupts
from punktfunk.process.channel import Channel

OPEN_LIMIT_S: Final = 12.0
ANSWER_LIMIT_S: Final = 8.0
CLOSE_LIMIT_S: Final = 2.0

A = TypeVar("A", bound=messages.Answer)
Opened = TypeVar("Opened", messages.SessionOpened, messages.GamescopeOpened)
"""How a compositor answers once it is there."""


@dataclass(slots=True)
class App:
    """A program in the session; ``status`` is its exit status, negative for a signal, None while it runs."""

    number: int
    argv: tuple[str, ...]
    status: int | None = None
    words: str = ""
    """The last lines that it printed, once it has ended."""
    ended: threading.Event = field(default_factory=threading.Event)


class SupervisedSession(Generic[Opened]):
    """A compositor and all that runs in it; both end with the session, however this process ends.

    Methods block for milliseconds (opening: half a second and more); use them from a thread in asyncio programs. They
    are safe to call from several threads.
    """

    def __init__(
        self,
        answer: type[Opened],
        order: Callable[[int, str], messages.Request],
        *,
        on_end: Callable[[PunktfunkError], None] | None = None,
        limit_s: float = OPEN_LIMIT_S,
    ) -> None:
        """Start a supervisor and send it the ``order``, made of its number and the session's private folder.

        ``on_end`` is called once, from another thread, when the session ends without ``close``. Raises
        CapabilityError where a part is missing and DesktopError where the compositor does not come up.
        """
        self._on_end = on_end
        self._answers: dict[int, queue.SimpleQueue[messages.Answer | PunktfunkError]] = {}
        self._apps: dict[int, App] = {}
        self._lock = threading.Lock()
        self._next = 1
        self._closing = False
        self._failure: PunktfunkError | None = None
        self._runtime = RuntimeFolder()
        try:
            self._process, self._channel = self._start()
        except BaseException:
            self._runtime.remove()
            raise
        self._reader = threading.Thread(target=self._read, name="desktop-session", daemon=True)
        self._reader.start()
        folder = str(self._runtime.path)
        try:
            self._opened: Opened = self._ask(answer, lambda number: order(number, folder), limit_s)
        except BaseException:
            self.close()
            raise

    @property
    def socket(self) -> str:
        """Path of the compositor's Wayland socket."""
        return self._opened.socket

    @property
    def x_display(self) -> str:
        """The X display such as ``:0``; empty where X11 programs cannot run."""
        return self._opened.x_display

    @property
    def containment(self) -> str:
        """What holds the session's processes together, see :class:`punktfunk.desktop.containment.Containment`."""
        return self._opened.containment

    @property
    def pulse_server(self) -> str:
        """Address of the session's sound server; empty without one."""
        return self._opened.pulse_server

    @property
    def supervisor_pid(self) -> int:
        """Process id of the process that holds the session."""
        return self._process.pid

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the session has ended; None while it runs, or after ``close``."""
        return self._failure

    def launch(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> App:
        """Start a program in the session from its argument list.

        Raises CapabilityError where it cannot be started and UsageError for an empty list.
        """
        launched = self._ask(
            messages.Launched,
            lambda number: messages.Launch(
                number, list(argv), dict(env or {}), None if cwd is None else str(cwd)
            ),
        )
        with self._lock:
            app = self._app(launched.app, tuple(argv))
            self._forget_if_over(app)
            return app

    def end_app(self, app: App) -> int:
        """End a program and return its status; of one that has ended already, what it has left in its session."""
        with contextlib.suppress(DesktopError):  # it ended meanwhile, and left nothing
            self._ask(messages.AppEnded, lambda number: messages.EndApp(number, app.number))
        app.ended.wait(ANSWER_LIMIT_S)
        with self._lock:
            # The answer may be about one that was left to whoever launched it before.
            self._apps.pop(app.number, None)
        return app.status if app.status is not None else -1

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> SessionProgram:
        """Start a program; ``on_end`` is called from another thread. Raises as :meth:`launch`."""
        app = self.launch(command, cwd=folder)

        def watch() -> None:
            app.ended.wait()
            on_end(-1 if app.status is None else app.status, app.words)

        threading.Thread(target=watch, name="watch-app", daemon=True).start()
        return SessionProgram(self, app)

    def close(self) -> None:
        """End everything in the session, within CLOSE_LIMIT_S. Closing twice is harmless."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._shut_channel()
        try:
            self._process.wait(CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if threading.current_thread() is not self._reader:
            self._reader.join()
        self._channel.close()
        self._runtime.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], Channel]:
        ours, theirs = Channel.pair()
        self._socket = ours
        command = [*module_command("punktfunk.desktop.supervisor"), "--channel", str(theirs.fileno())]
        try:
            with interrupts.held_back():
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[theirs.fileno()]
                )
        except OSError as error:
            ours.close()
            raise CapabilityError(f"a session supervisor cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        return process, Channel(ours, messages.VOCABULARY)

    def _shut_channel(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _require_running(self) -> None:
        if self._failure is not None:
            raise SessionClosedError(f"the desktop session has ended: {self._failure.cause}")

    def _send(self, message: messages.Request) -> None:
        self._require_running()
        self._channel.send(message)

    def _ask(
        self, wanted: type[A], make: Callable[[int], messages.Request], limit_s: float = ANSWER_LIMIT_S
    ) -> A:
        """Send a request with a number of its own; return its answer, or raise what the supervisor met."""
        answers: queue.SimpleQueue[messages.Answer | PunktfunkError] = queue.SimpleQueue()
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._answers[number] = answers
        request = make(number)
        try:
            self._send(request)
            answer = answers.get(timeout=limit_s)
        except queue.Empty:
            raise DesktopError(f"the session supervisor did not answer {type(request).__name__}") from None
        finally:
            with self._lock:
                self._answers.pop(number, None)
        if isinstance(answer, PunktfunkError):
            raise answer
        if not isinstance(answer, wanted):
            raise DesktopError(
                f"the session supervisor answered {type(request).__name__} with another matter"
            )
        return answer

    def _read(self) -> None:
        while True:
            received = self._channel.receive()
            if received is None:
                break
            message, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            self._received(message)
        if self._failure is None and not self._closing:
            self._failure = DesktopError("the session supervisor has ended", "see its log above")
        self._over()

    def _received(self, message: messages.Answer) -> None:
        if isinstance(message, messages.AppEnded):
            with self._lock:
                app = self._app(message.app)
                app.status, app.words = message.status, message.words
                app.ended.set()
                self._forget_if_over(app)
        answer = _as_error(message) if isinstance(message, messages.Failed) else message
        if message.number == 0:
            if isinstance(answer, PunktfunkError) and not self._closing:
                self._failure = answer
            return
        with self._lock:
            waiting = self._answers.get(message.number)
        if waiting is not None:
            waiting.put(answer)

    def _over(self) -> None:
        failure = self._failure or SessionClosedError("the desktop session was closed")
        with self._lock:
            for waiting in self._answers.values():
                waiting.put(failure)
            for app in self._apps.values():
                app.ended.set()
            told = not self._closing
        if told and self._on_end is not None:
            self._on_end(failure)

    def _app(self, number: int, argv: tuple[str, ...] = ()) -> App:
        """Return the program of that number; its end may be told before its start was answered."""
        app = self._apps.setdefault(number, App(number, argv))
        app.argv = app.argv or argv
        return app

    def _forget_if_over(self, app: App) -> None:
        """Leave a program that has ended to whoever launched it: one is started for many a stream."""
        if app.ended.is_set() and app.argv:
            self._apps.pop(app.number, None)


@dataclass(frozen=True, slots=True)
class SessionProgram:
    """A program in a session, with which it ends at the latest; a :class:`punktfunk.desktop.RunningProgram`."""

    session: SupervisedSession[messages.SessionOpened] | SupervisedSession[messages.GamescopeOpened]
    app: App

    def end(self) -> None:
        """End it and what it has left in its own session."""
        with contextlib.suppress(SessionClosedError):
            self.session.end_app(self.app)


_KINDS: Final = (
    CapabilityError,
    ConfigError,
    DmaBufMissingError,
    GamescopeMissingError,
    UsageError,
    VulkanMissingError,
)
"""Errors that a supervisor's are told apart by."""


def _as_error(message: messages.Failed) -> PunktfunkError:
    """Make the error that the supervisor met, of the same class where that is one of these."""
    kinds = {kind.code: kind for kind in _KINDS}
    return kinds.get(message.code, DesktopError)(message.cause, message.hint)
