"""A session that a user has running: what every back end that streams one shares, whatever its compositor is."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from punktfunk.desktop import DesktopOptions, OnEnd, RunningProgram
from punktfunk.desktop.attached_program import AttachedProgram
from punktfunk.desktop.audio import SoundPlace, why_silent
from punktfunk.desktop.audio.pulse import require_pulse
from punktfunk.desktop.audio.speakers import MutedSpeakers
from punktfunk.desktop.pads import PadMaker
from punktfunk.desktop.pads.uinput import UinputPad
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError

_USERS_MONITOR: Final = "@DEFAULT_MONITOR@"
"""What the user's own sound server plays, by the name that PulseAudio and PipeWire know."""


STOPPED_S: Final = 60.0
"""Whoever has stopped the sharing of a desktop has nobody see it for so long, however often clients try."""


class UserSession:
    """The half of a :class:`punktfunk.desktop.Desktop` that a running session's compositor has no part in.

    A back end derives from it and adds outputs, input and a description. Its methods take ``_lock`` and do what
    may show that the compositor has gone within ``_noting_failure``; its ``close`` sets ``_closed`` and ends with
    this one's. ``display`` is the Wayland socket that programs are shown on, ``None`` where the environment says.
    """

    make_pad: PadMaker | None = UinputPad

    def __init__(self, options: DesktopOptions, *, display: str | None = None) -> None:
        self._display = display
        self._lock = threading.Lock()
        self._failure: PunktfunkError | None = None
        self._closed = False
        self._speakers_lock = threading.Lock()
        self._muted: MutedSpeakers | None = None
        self._audible = not why_silent(require_pulse, wanted=options.audio)

    @property
    def sound(self) -> SoundPlace | None:
        """What the user's own sound server plays."""
        return SoundPlace("", _USERS_MONITOR) if self._audible else None

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the desktop is gone; None while it answers."""
        return self._failure

    @property
    def notice(self) -> PunktfunkError | None:
        """Nobody has to do anything, as far as this half knows."""
        return None

    def play_here(self, playing: bool) -> None:
        """Mute the user's default sink, or let it play again."""
        # Not under the other lock: input waits for nothing that a sound server takes.
        with self._speakers_lock:
            if playing or self._closed:
                if self._muted is not None:
                    self._muted.close()
                    self._muted = None
            elif self._muted is None and self._audible:
                self._muted = MutedSpeakers()

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        """Start a program in the user's own session, as the user would."""
        return AttachedProgram(command, folder, self._display, on_end)

    def close(self) -> None:
        """Let the user's speakers play."""
        self._closed = True
        self.play_here(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except DesktopError as error:
            self._failure = error
            raise


def session_socket(display: str | None = None) -> str:
    """Return the Wayland socket of ``display``, or of the session that the environment tells of.

    Raises CapabilityError where it tells of none.
    """
    name = display or os.environ.get("WAYLAND_DISPLAY")
    if not name:
        raise CapabilityError(
            "no Wayland session runs here (WAYLAND_DISPLAY is not set)", "start punktfunk from within one"
        )
    if Path(name).is_absolute():
        return name
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder:
        raise CapabilityError(f"the Wayland session {name} cannot be found: XDG_RUNTIME_DIR is not set", "")
    return str(Path(folder) / name)
