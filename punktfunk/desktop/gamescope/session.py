"""A gamescope session as the program sees it that wants one: its pictures, its input, and the program in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from punktfunk.desktop import messages
from punktfunk.desktop.gamescope.program import require_gamescope, require_parts
from punktfunk.desktop.supervised_session import SupervisedSession
from punktfunk.errors import PunktfunkError
from punktfunk.units import Mode

_OPEN_LIMIT_S: Final = 45.0
"""PipeWire, and gamescope's own limit."""


@dataclass(frozen=True, slots=True)
class GamescopeOptions:
    """What a session is opened with."""

    mode: Mode
    """It keeps this one."""
    audio: bool = False
    """With a sound server as well; CapabilityError where that is not installed."""
    steam: bool = False
    """Have Steam, which is to run in it, say which window is shown."""
    keyboard_layout: str = "us"
    keyboard_variant: str = ""


class GamescopeSession(SupervisedSession[messages.GamescopeOpened]):
    """A gamescope without a screen and a PipeWire of its own."""

    def __init__(
        self, options: GamescopeOptions, *, on_end: Callable[[PunktfunkError], None] | None = None
    ) -> None:
        """Open the session; see :class:`SupervisedSession`.

        Raises GamescopeMissingError, VulkanMissingError or DmaBufMissingError where this machine cannot.
        """
        require_gamescope()
        require_parts()
        super().__init__(
            messages.GamescopeOpened,
            lambda number, runtime: messages.OpenGamescope(
                number,
                runtime=runtime,
                mode=options.mode,
                audio=options.audio,
                steam=options.steam,
                keyboard_layout=options.keyboard_layout,
                keyboard_variant=options.keyboard_variant,
            ),
            on_end=on_end,
            limit_s=_OPEN_LIMIT_S,
        )

    @property
    def ei_path(self) -> str:
        """Path of the socket that takes input."""
        return self._opened.ei_path

    @property
    def pipewire(self) -> str:
        """Path of PipeWire's socket."""
        return self._opened.pipewire

    @property
    def node(self) -> int:
        """The node there that has the pictures."""
        return self._opened.node
