"""A desktop that is one gamescope session: begun with its first stream, in that stream's mode, for one program."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from punktfunk import log
from punktfunk.desktop import DesktopOptions, DesktopOutput, OnEnd, RunningProgram
from punktfunk.desktop.audio import SoundPlace, why_silent
from punktfunk.desktop.audio.pipewire import SINK, require_pipewire
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.gamescope.program import (
    has_graphics_card,
    is_game_mode,
    require_gamescope,
    require_parts,
)
from punktfunk.desktop.gamescope.session import GamescopeOptions, GamescopeSession
from punktfunk.desktop.inject import Rect
from punktfunk.desktop.inject.eis import EisInjector
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.pads import PadMaker
from punktfunk.desktop.pads.uinput import UinputPad
from punktfunk.desktop.program import name_of, require_program
from punktfunk.errors import DesktopError, PunktfunkError, SessionClosedError
from punktfunk.input import InputEvent
from punktfunk.units import Mode

_FIRST_MODE: Final = Mode(1280, 720, 60)
"""Of a session whose program is started before anybody streams it."""
_CONNECT_LIMIT_S: Final = 2.0


@dataclass
class _Life:
    """One gamescope, and who puts input in."""

    mode: Mode
    session: GamescopeSession
    injector: EisInjector

    def close(self) -> None:
        try:
            self.injector.close()
        except PunktfunkError as error:
            log.get("desktop").debug("not closed in order", cause=error.cause)
        self.session.close()


class GamescopeDesktop:
    """A gamescope of its own; see :class:`punktfunk.desktop.Desktop`.

    It has one output, in the mode of its first stream, for as long as it runs, and for one stream at a time: streams of
    other modes are scaled.
    ``options.program`` is what will run in it, and is started with the first stream; where it is None,
    ``options.expected`` is what :meth:`run` will start.
    """

    make_pad: PadMaker | None = UinputPad
    notice: PunktfunkError | None = None
    """Nobody is at it who could be asked."""
    takes_touch: bool = False
    """gamescope's input server has no fingers: the first one moves the pointer."""
    tells_cursor: bool = False
    """It leaves the pointer out of its pictures, and tells nothing of it."""

    def __init__(self, options: DesktopOptions) -> None:
        """Look whether all is installed; nothing is started yet. Raises CapabilityError where something is missing."""
        require_gamescope()
        require_parts()
        self._program = options.program or None
        if self._program is not None:
            require_program(self._program)
        self._options = options
        self._keyboard = Keyboard(options.keyboard_layout, options.keyboard_variant)
        self._silence = why_silent(require_pulse, require_pipewire, wanted=options.audio)
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._lent: list[DesktopOutput] = []
        self._running: RunningProgram | None = None
        self._closed = False
        self._log = log.get("desktop")

    @property
    def description(self) -> str:
        """Names the program, if it has one, and says why it is not heard."""
        sound = f"without sound: {self._silence}" if self._silence else "with sound"
        runs = "" if self._program is None else f" that runs {name_of(self._program)}"
        return f"a gamescope of its own{runs}, {sound}"

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the session has ended; None again once the next ``provide`` has begun another."""
        life = self._life
        return None if life is None else life.session.failure or life.injector.failure

    @property
    def sound(self) -> SoundPlace | None:
        """The sink of the session's own PipeWire."""
        life = self._life
        if life is None or not life.session.pulse_server:
            return None
        return SoundPlace(life.session.pulse_server, f"{SINK}.monitor")

    def play_here(self, playing: bool) -> None:
        """Do nothing: what is played here is heard in streams alone."""

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return the output, of that mode where no gamescope runs yet; start the program unless it runs.

        Raises DesktopError while another stream has it: gamescope 3.16 gives no pictures to two consumers, and may end
        over the second.
        """
        with self._lock:
            if self._lent and self.failure is None:
                raise DesktopError("this gamescope is streamed already", "end that stream first")
            life = self._begun(mode)
            if self._program is not None and self._running is None:
                self._running = life.session.run(self._program, Path.home(), self._program_ended)
            output = DesktopOutput(
                "gamescope",
                mode,
                PipeWireScreen(
                    node=life.session.node,
                    remote=life.session.pipewire,
                    begins_anew=False,
                    provoked_at=life.session.socket,
                ),
            )
            self._lent.append(output)
            return output

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Return the same output, to be scaled; raise DesktopError where it is no stream's any more."""
        with self._lock:
            if self.failure is not None or not any(each is output for each in self._lent):
                raise DesktopError("the output of this stream has gone", "connect again")
            changed = replace(output, mode=mode)
            self._lent = [changed if each is output else each for each in self._lent]
            return changed

    def give_back(self, output: DesktopOutput) -> None:
        """Keep the output: it goes with the session."""
        with self._lock:
            self._lent = [each for each in self._lent if each is not output]

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        """Start a program in the session, which is begun where none runs."""
        with self._lock:
            return self._begun(_FIRST_MODE).session.run(command, folder, on_end)

    def inject(self, event: InputEvent) -> None:
        """Put one input event in; raise SessionClosedError when the session has ended."""
        life = self._life  # without the lock: who begins a session waits for seconds
        if life is not None:
            self._require_life(life)
            life.injector.inject(event)

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button; return the injector's counters."""
        life = self._life
        if life is None:
            return {}
        self._require_life(life)
        life.injector.release_all()
        return life.injector.counters

    def close(self) -> None:
        """End the session and everything in it."""
        self._closed = True
        with self._lock:
            life, self._life = self._life, None
            self._lent.clear()
        if life is not None:
            life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self, mode: Mode) -> _Life:
        """Return the session that runs, or begin one of that mode, also where the last one has ended."""
        if self._closed:
            raise SessionClosedError("the desktop was closed")
        life = self._life
        if life is not None:
            if life.session.failure is None:
                if life.injector.failure is not None:
                    # It has hung up on us; the program is not to end for that.
                    life.injector.close()
                    life.injector = self._input_of(life.session, life.mode)
                return life
            self._life, self._running = None, None
            self._lent.clear()
            life.close()
            # What its clients see is of the size that they had.
            mode = life.mode
            self._log.info("gamescope is started again", mode=str(mode))
        self._life = life = self._begin(mode)
        return life

    def _begin(self, mode: Mode) -> _Life:
        options = self._options
        session = GamescopeSession(
            GamescopeOptions(
                mode,
                audio=not self._silence,
                steam=is_game_mode(self._program or options.expected),
                keyboard_layout=options.keyboard_layout,
                keyboard_variant=options.keyboard_variant,
            ),
            on_end=self._ended,
        )
        try:
            injector = self._input_of(session, mode)
        except BaseException:
            session.close()
            raise
        if not has_graphics_card():
            self._log.warning(
                "gamescope has no graphics card",
                cause="programs that draw into the same buffers again stand still in its pictures",
                hint="use headless-sway on such a machine, or an app with a desktop of that kind",
            )
        return _Life(mode, session, injector)

    def _input_of(self, session: GamescopeSession, mode: Mode) -> EisInjector:
        injector = EisInjector(_connected(session.ei_path), keyboard=self._keyboard)
        # Its one region is larger than any screen; positions are pixels of the output.
        injector.aim(region=Rect(0, 0, mode.width, mode.height))
        return injector

    def _require_life(self, life: _Life) -> None:
        if self._closed or life.session.failure is not None:
            raise SessionClosedError("the gamescope session has ended")

    def _program_ended(self, status: int, words: str) -> None:
        self._running = None
        if status:
            self._log.warning("program ended", status=status, words=words)

    def _ended(self, error: PunktfunkError) -> None:
        self._log.error("desktop ended", cause=error.cause, hint=error.hint)


def _connected(path: str) -> int:
    """Return the descriptor of a connection to gamescope's input server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_LIMIT_S)
        try:
            connection.connect(path)
        except OSError as error:
            raise DesktopError(f"gamescope takes no input: {error.strerror}") from error
        connection.setblocking(True)
        return connection.detach()
