"""What touches a desktop: virtual displays, capture, input, audio, and the session that owns them.

One protocol class and one file a back end in each of ``vdisplay``, ``capture``, ``inject`` and ``audio``.
Nothing here knows the network; hosts and the reference client put the parts together, through
:class:`Desktop` and :func:`punktfunk.desktop.backends.open_desktop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from punktfunk.desktop.vdisplay import VirtualOutput
    from punktfunk.errors import PunktfunkError
    from punktfunk.input import InputEvent
    from punktfunk.units import Mode


class Desktop(Protocol):
    """A desktop to stream: outputs to capture, and a place where input goes. Safe for use by several threads.

    Calls block for milliseconds; asyncio programs make them from a thread, ``inject`` excepted.
    """

    @property
    def socket(self) -> str:
        """Path of the compositor's Wayland socket, for :class:`punktfunk.desktop.capture.ScreenSpec`."""
        ...

    @property
    def pulse_server(self) -> str:
        """Address of the sound server; empty for the user's own or none."""
        ...

    @property
    def failure(self) -> PunktfunkError | None:
        """Why the desktop is gone; None while it is there."""
        ...

    def provide(self, mode: Mode) -> VirtualOutput:
        """Return an output for a stream of that mode: a new one, or one that there is already.

        Raises CapabilityError or DesktopError where there is none.
        """
        ...

    def inject(self, event: InputEvent) -> None:
        """Put one input event in."""
        ...

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button, as when a client leaves; return the injector's counters."""
        ...

    def close(self) -> None:
        """Leave nothing behind. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
