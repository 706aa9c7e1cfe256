"""A desktop of our own: a headless sway with one program in it, opened again for the next stream where it has ended."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from punktfunk import log
from punktfunk.desktop import Availability, BackendName, DesktopOptions, DesktopOutput, OnEnd, RunningProgram
from punktfunk.desktop.audio import SoundPlace, why_silent
from punktfunk.desktop.audio.pipewire import SINK, require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.capture import CursorPlace, ScreenSpec, WlrScreen
from punktfunk.desktop.pads import PadMaker
from punktfunk.desktop.pads.uinput import UinputPad
from punktfunk.desktop.program import default_program, name_of, require_program
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.desktop.supervised_session import App
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError, SessionClosedError
from punktfunk.input import InputEvent
from punktfunk.units import Mode

_WATCHER_LIMIT_S: Final = 2.0
"""For the last word about a program, once its session is gone and all programs with it."""


class HeadlessDesktop:
    """Runs a program on outputs of its own; see :class:`punktfunk.desktop.Desktop`.

    An old sway cannot take an output away, so one that a stream gave back is kept for the next. Raises
    CapabilityError where a part or the program is missing and DesktopError where the compositor does not come up.
    """

    make_pad: PadMaker | None = UinputPad
    notice: PunktfunkError | None = None
    """Nobody is at it who could be asked."""
    takes_touch: bool = False
    """It reads none of the machine's input devices: a headless sway that did would have the user's own as well."""

    def __init__(self, options: DesktopOptions) -> None:
        self._options = options
        self._program = default_program() if options.program == () else options.program
        if self._program is not None:
            require_program(self._program)
        self._lock = threading.Lock()
        self._lent: set[ScreenSpec] = set()
        self._kept: list[VirtualOutput] = []
        self._app: App | None = None
        self._watcher: threading.Thread | None = None
        self._log = log.get("desktop")
        self._sound: SoundPlace | None = None
        self._silence = ""
        self._closed = False
        self._session = self._open()

    @property
    def description(self) -> str:
        """Names the program, if it has one, and says why it is not heard."""
        sound = f"without sound: {self._silence}" if self._silence else "with sound"
        runs = "" if self._program is None else f" that runs {name_of(self._program)}"
        return f"a headless sway{runs}, {sound}"

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the session has ended; None again once the next ``provide`` has opened another."""
        return self._session.failure

    @property
    def tells_cursor(self) -> bool:
        """Whether its sway tells the pointer beside copies of its outputs, as 1.12 does."""
        return self._session.tells_cursor

    @property
    def sound(self) -> SoundPlace | None:
        """The sink of the session's own PipeWire."""
        return self._sound

    def play_here(self, playing: bool) -> None:
        """Do nothing: what is played here is heard in streams alone."""

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return an output that was given back, or a new one; start the program unless it runs."""
        with self._lock:
            self._open_again()
            # The program is on the first of them.
            kept = min(self._kept, key=lambda output: output.name, default=None)
            if kept is None:
                made = self._session.create(mode, scale=scale)
            else:
                self._kept.remove(kept)
                made = self._session.change(kept, mode, scale=scale)
            try:
                self._launch()
            except PunktfunkError:
                self._kept.append(made)
                raise
            return self._provided(
                made, "metadata" if separate_cursor and self._session.tells_cursor else "embedded"
            )

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        """Start a program in the session, which is opened again where it has ended."""
        with self._lock:
            self._open_again()
            return self._session.run(command, folder, on_end)

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give an output another mode; raise DesktopError where it is no stream's any more."""
        with self._lock:
            screen = output.screen
            if screen not in self._lent or not isinstance(screen, WlrScreen):
                raise DesktopError("the output of this stream has gone")
            changed = self._session.change(VirtualOutput(output.name, output.mode), mode)
            return self._provided(changed, screen.cursor)

    def give_back(self, output: DesktopOutput) -> None:
        """Keep an output for the next stream; one of a session that has ended went with it."""
        with self._lock:
            if output.screen in self._lent:
                self._lent.remove(output.screen)
                self._kept.append(VirtualOutput(output.name, output.mode))

    def inject(self, event: InputEvent) -> None:
        """Put one input event in; raise SessionClosedError when the session has ended."""
        self._session.inject(event)

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button; return the injector's counters."""
        return self._session.release_all()

    def close(self) -> None:
        """End the session and everything in it."""
        self._closed = True
        self._session.close()
        if self._watcher is not None:
            self._watcher.join(_WATCHER_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> DesktopSession:
        """Open it with sound, and without where sound is unavailable: a silent stream is better than none."""
        layout, variant = self._options.keyboard_layout, self._options.keyboard_variant
        self._silence = why_silent(require_pulse, require_pipewire, wanted=self._options.audio)
        if not self._silence:
            try:
                options = SessionOptions(audio=True, keyboard_layout=layout, keyboard_variant=variant)
                session = DesktopSession(options, on_end=self._ended)
            except DesktopError as error:
                self._silence = error.cause
            else:
                self._sound = SoundPlace(session.pulse_server, f"{SINK}.monitor")
                return session
        silent = SessionOptions(keyboard_layout=layout, keyboard_variant=variant)
        return DesktopSession(silent, on_end=self._ended)

    def _open_again(self) -> None:
        """Open the session anew where it has ended: the next stream is not to suffer for it."""
        if self._session.failure is None:
            return
        self._session.close()
        self._kept.clear()
        self._lent.clear()
        self._app = self._sound = None
        self._session = self._open()
        if self._closed:
            self._session.close()
            raise SessionClosedError("the desktop was closed")
        self._log.info("desktop opened again")

    def _launch(self) -> None:
        """Start the program with the first stream, and again with a later one that finds it ended."""
        if self._program is not None and (self._app is None or self._app.status is not None):
            self._app = self._session.launch(self._program, cwd=Path.home())
            self._watcher = threading.Thread(
                target=self._watch,
                args=[self._app, name_of(self._program)],
                name="watch-program",
                daemon=True,
            )
            self._watcher.start()

    def _watch(self, app: App, name: str) -> None:
        """Log how the program ended: without it a desktop is empty, and nobody would know why."""
        app.ended.wait()
        if app.status:
            self._log.warning("program ended", program=name, status=app.status, words=app.words)

    def _provided(self, made: VirtualOutput, cursor: CursorPlace) -> DesktopOutput:
        screen = WlrScreen(display=self._session.socket, output=made.name, cursor=cursor)
        self._lent.add(screen)
        return DesktopOutput(made.name, made.mode, screen)

    def _ended(self, error: PunktfunkError) -> None:
        self._log.error("desktop ended", cause=error.cause, hint=error.hint)


def examine() -> Availability:
    """Return whether a sway of our own can be started here. Starts nothing."""
    name = BackendName.HEADLESS_SWAY
    if shutil.which("sway") is None:
        return Availability(name, False, "sway is not installed", "apt-get install sway")
    if importlib.util.find_spec("pywayland") is None:
        return Availability(name, False, "pywayland is not installed", "pip install 'punktfunk[desktop]'")
    try:
        from punktfunk.desktop.inject.keymap import Keyboard

        Keyboard().close()
    except CapabilityError as error:
        return Availability(name, False, error.cause, error.hint)
    missing = [what for what in ("dbus-daemon", "Xwayland") if shutil.which(what) is None]
    without = f", without {' and '.join(missing)}" if missing else ""
    return Availability(name, True, f"sway is installed{without}")
