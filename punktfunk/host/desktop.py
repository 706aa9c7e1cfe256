"""The desktop behind a host's streams: outputs lent to them one each, their input put in, one program in it."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from punktfunk import log
from punktfunk.desktop import Desktop
from punktfunk.desktop.attached import AttachedDesktop
from punktfunk.desktop.audio.pipewire import SINK, require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.backends import BackendName, Finding, examine, open_desktop
from punktfunk.desktop.capture import ScreenSpec
from punktfunk.desktop.session import App, DesktopSession, SessionOptions
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError, SessionClosedError, UsageError
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent
from punktfunk.units import Mode

_USERS_MONITOR = "@DEFAULT_MONITOR@"
"""What the user's own sound server plays, by the name that PulseAudio and PipeWire know."""
_WATCHER_LIMIT_S = 2.0
"""For the last word about a program, once its desktop is gone and all programs with it."""
_TESTCARD = (sys.executable, "-m", "punktfunk", "testcard")


@dataclass(frozen=True, slots=True)
class SoundPlace:
    """Where a desktop's programs play: a source of a sound server, the user's own where ``server`` is empty."""

    server: str
    source: str


@dataclass(frozen=True, slots=True)
class Lent:
    """An output that a stream captures."""

    output: VirtualOutput
    screen: ScreenSpec


def choose_backend(spec: DesktopSpec) -> Finding:
    """Return the back end that serves ``spec`` here; raise ``CapabilityError`` that says why none does."""
    findings = [one for one in examine() if spec.backend in ("auto", one.name.value)]
    for finding in findings:
        if finding.usable:
            return finding
    reasons = "; ".join(f"{one.name.value}: {one.reason}" for one in findings)
    hint = next((one.hint for one in reversed(findings) if one.hint), "")
    raise CapabilityError(f"no desktop can be streamed here ({reasons})", hint)


def program_of(text: str | None) -> tuple[str, ...]:
    """Return the argument list that a command line means by ``text``; () for nothing.

    ``punktfunk`` is this installation's, found in PATH or not.
    """
    try:
        argv = tuple(shlex.split(text or ""))
    except ValueError as error:
        raise UsageError(f"{text!r} is no program with arguments: {error}", "close the quotes") from error
    if argv and argv[0] == "punktfunk":
        return (sys.executable, "-m", "punktfunk", *argv[1:])
    return argv


def _name_of(program: tuple[str, ...]) -> str:
    """Return what a person calls it."""
    if program[:3] == (sys.executable, "-m", "punktfunk"):
        return " ".join(("punktfunk", *program[3:4]))
    return Path(program[0]).name


def default_program() -> tuple[str, ...]:
    """Return what a headless desktop runs when nothing is configured: a terminal, or else the test card."""
    terminal = shutil.which("foot") or shutil.which("alacritty") or shutil.which("xterm")
    return (terminal,) if terminal else _TESTCARD


class DesktopPool:
    """Open a desktop and share it between streams.

    A compositor may be unable to take an output away, so one that a stream gave back is kept for the next.
    Methods block for milliseconds, opening half a second, and are safe to call from several threads;
    ``inject`` does not block. Raises CapabilityError and DesktopError as
    :func:`punktfunk.desktop.backends.open_desktop` does.
    """

    def __init__(self, spec: DesktopSpec) -> None:
        self._spec = spec
        self._finding = choose_backend(spec)
        self._lock = threading.Lock()
        self._free: list[VirtualOutput] = []
        self._program = spec.app or default_program()
        if self._finding.name is BackendName.HEADLESS and shutil.which(self._program[0]) is None:
            raise CapabilityError(
                f"{self._program[0]} cannot be started: there is no such program",
                "is it installed, and in PATH?",
            )
        if self._finding.name is BackendName.HEADLESS and not Path.home().is_dir():
            raise CapabilityError(
                f"{self._program[0]} cannot be started: the home folder {Path.home()} is missing",
                "make it, or set HOME to a folder that is there",
            )
        self._app: App | None = None
        self._watcher: threading.Thread | None = None
        self._log = log.get("host.desktop")
        self.sound: SoundPlace | None = None
        """Where its programs play; ``None`` where that is nowhere."""
        self._silence = ""
        self._over = threading.Event()
        self._desktop = self._open()

    @property
    def description(self) -> str:
        """What is streamed, in words."""
        if self._finding.name is BackendName.ATTACHED:
            own = isinstance(self._desktop, AttachedDesktop) and self._desktop.own_output
            return f"this desktop{', on an output of its own' if own else ''} ({self._finding.reason})"
        sound = f"without sound: {self._silence}" if self._silence else "with sound"
        runs = f"{_name_of(self._program)}, {sound}"
        return f"a headless sway that runs {runs} ({self._finding.reason})"

    def lend(self, mode: Mode) -> Lent:
        """Return an output of that mode for one stream."""
        with self._lock:
            self._open_again()
            # The program is on the first of them.
            free = min(self._free, key=lambda output: output.name, default=None)
            if free is not None:
                self._free.remove(free)
            if free is not None and isinstance(self._desktop, DesktopSession):
                output = self._desktop.change(free, mode)
            else:
                output = self._desktop.provide(mode)
            self._launch()
        return self._lent(output)

    def change(self, lent: Lent, mode: Mode) -> Lent:
        """Give a lent output another mode; a desktop that cannot is captured scaled."""
        if not isinstance(self._desktop, DesktopSession | AttachedDesktop):
            return lent
        with self._lock:
            if lent.screen.socket != self._desktop.socket:
                raise DesktopError("the desktop of this stream has ended")
            return self._lent(self._desktop.change(lent.output, mode))

    def give_back(self, lent: Lent) -> None:
        """Keep a stream's output for another one, or take it away, in a thread, where that can be done."""
        if isinstance(self._desktop, AttachedDesktop):
            threading.Thread(
                target=self._take_back, args=[lent], name="take-output-back", daemon=True
            ).start()
            return
        with self._lock:
            if lent.screen.socket == self._desktop.socket:
                self._free.append(lent.output)

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; what the desktop makes of it, its injector counts."""
        try:
            self._desktop.inject(event)
        except PunktfunkError:
            return False
        return True

    def release_all(self) -> None:
        """Let go of every key and button, in a thread: the compositor is waited for."""
        threading.Thread(target=self._release, name="release-input", daemon=True).start()

    def close(self) -> None:
        """End a desktop of our own, leave another's as it was."""
        self._desktop.close()
        if self._watcher is not None:
            self._watcher.join(_WATCHER_LIMIT_S)

    def _open(self) -> Desktop:
        """Open it with sound, and without where sound is unavailable: a silent stream is better than none."""
        name, layout = self._finding.name, self._spec.keyboard_layout
        self._silence = self._why_silent()
        if not self._silence and name is BackendName.HEADLESS:
            try:
                options = SessionOptions(audio=True, keyboard_layout=layout)
                desktop = open_desktop(name, options, on_end=self._ended)
            except DesktopError as error:
                self._silence = error.cause
                self._over.clear()  # that was the end of this try only
            else:
                self.sound = SoundPlace(desktop.pulse_server, f"{SINK}.monitor")
                return desktop
        if not self._silence:
            self.sound = SoundPlace("", _USERS_MONITOR)
        return open_desktop(name, SessionOptions(keyboard_layout=layout), on_end=self._ended)

    def _open_again(self) -> None:
        """Open a headless desktop anew where it has ended: the next stream is not to suffer for it."""
        if not self._over.is_set() or not isinstance(self._desktop, DesktopSession):
            return
        self._desktop.close()
        self._free.clear()
        self._app = self.sound = None
        self._over.clear()
        try:
            self._desktop = self._open()
        except BaseException:
            self._over.set()
            raise
        self._log.info("desktop opened again")

    def _why_silent(self) -> str:
        """Return what keeps the desktop from being heard, "" for nothing."""
        if not self._spec.audio:
            return "not asked for"
        try:
            require_pulse()
            if self._finding.name is BackendName.HEADLESS:
                require_pipewire()
        except CapabilityError as error:
            return f"{error.cause} ({error.hint})"
        return ""

    def _launch(self) -> None:
        """Start the program with the first stream, and again with a later one that finds it ended."""
        running = self._app is not None and self._app.status is None
        if not running and isinstance(self._desktop, DesktopSession):
            self._app = self._desktop.launch(self._program, cwd=Path.home())
            self._watcher = threading.Thread(
                target=self._watch, args=[self._app], name="watch-program", daemon=True
            )
            self._watcher.start()

    def _watch(self, app: App) -> None:
        """Log how the program ended: without it a desktop is empty, and nobody would know why."""
        app.ended.wait()
        if app.status:
            self._log.warning(
                "program ended", program=_name_of(self._program), status=app.status, words=app.words
            )

    def _lent(self, output: VirtualOutput) -> Lent:
        return Lent(output, ScreenSpec(socket=self._desktop.socket, output=output.name))

    def _release(self) -> None:
        try:
            self._desktop.release_all()
        except SessionClosedError:
            pass  # and with it everything that was held down
        except PunktfunkError as error:
            self._log.warning("input not released", cause=error.cause)

    def _take_back(self, lent: Lent) -> None:
        if isinstance(self._desktop, AttachedDesktop):
            try:
                self._desktop.take_back(lent.output)
            except PunktfunkError as error:
                self._log.warning("output not taken away", output=lent.output.name, cause=error.cause)

    def _ended(self, error: PunktfunkError) -> None:
        self._over.set()
        self._log.error("desktop ended", cause=error.cause, hint=error.hint)


class OutputLease:
    """The output of one stream, for as long as the stream is there; belongs to one event loop.

    ``read_strip`` has its pictures numbered by the test card's frame marker.
    """

    def __init__(self, desk: DesktopPool, *, read_strip: bool = False) -> None:
        self._desk = desk
        self._read_strip = read_strip
        self._lent: Lent | None = None
        self._over = False

    async def begin(self, mode: Mode) -> ScreenSpec:
        """Have an output made; return what to capture."""
        self._lent = await asyncio.to_thread(self._desk.lend, mode)
        if self._over:
            self._desk.give_back(self._lent)
        return self._screen(self._lent)

    async def change(self, mode: Mode) -> ScreenSpec:
        """Give the output another mode; return what to capture then."""
        if self._lent is None:
            raise DesktopError("the stream has no output yet")
        self._lent = await asyncio.to_thread(self._desk.change, self._lent, mode)
        return self._screen(self._lent)

    def end(self) -> None:
        """Keep the output for another stream."""
        self._over = True
        if self._lent is not None:
            self._desk.give_back(self._lent)

    def _screen(self, lent: Lent) -> ScreenSpec:
        return lent.screen.model_copy(update={"read_strip": self._read_strip})
