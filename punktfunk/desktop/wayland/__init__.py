"""Wayland client connections, through pywayland where it is installed (``punktfunk[desktop]``).

Not here: what they are used for (``capture``, ``inject``); this is the protocol's plumbing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from punktfunk.errors import CapabilityError

if TYPE_CHECKING:
    from punktfunk.desktop.wayland.connection import Connection


def connect(display: str) -> Connection:
    """Connect to a compositor by its socket: an absolute path, or a name within XDG_RUNTIME_DIR.

    Raises CapabilityError without pywayland and DesktopError where nobody answers.
    """
    require()
    from punktfunk.desktop.wayland.connection import Connection

    return Connection(display)


def take_over(descriptor: int) -> Connection:
    """Speak over a connection that another program has made, and own it.

    Raises CapabilityError without pywayland and DesktopError where nobody answers.
    """
    require()
    from punktfunk.desktop.wayland.connection import Connection

    return Connection(descriptor)


def require() -> None:
    """Raise CapabilityError unless pywayland can be imported."""
    try:
        import pywayland  # noqa: F401 - is it installed?
    except ImportError as error:
        raise CapabilityError(
            f"Wayland needs pywayland, which cannot be imported: {error}", "pip install 'punktfunk[desktop]'"
        ) from error
