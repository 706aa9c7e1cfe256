"""KWin's outputs: where each lies, and which of the user's own comes first."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from punktfunk.desktop.inject import Rect
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.errors import CapabilityError

_PLACES: Final = "zxdg_output_manager_v1"
_ORDER: Final = "kde_output_order_v1"
_VIRTUAL: Final = "Virtual-"
"""What KWin puts before the name of an output that it makes."""
_OURS: Final = "punktfunk-"
MAX_OUTPUTS: Final = 64
"""Of an order; what is told beyond is ignored."""


class Outputs:
    """Outputs of one connection, which it does not own. Not safe for use by two threads at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._places: Any = connection.bind(_PLACES, 1) if connection.offers(_PLACES) else None
        self._order: list[str] = []
        self._told: list[str] = []
        self._orders: Any = None
        if connection.offers(_ORDER):
            self._orders = connection.bind(_ORDER, 1)
            self._orders.dispatcher["output"] = self._on_output
            self._orders.dispatcher["done"] = self._on_done
            connection.round_trip()

    def place(self, name: str, on_change: Callable[[], None]) -> Place | None:
        """Follow where an output lies, which is known after a round trip.

        None where the compositor does not tell, or the output has gone meanwhile.
        """
        output = next((each for each in self._connection.outputs if each.name == name), None)
        if self._places is None or output is None:
            return None
        return Place(self._places, output, on_change)

    def first(self) -> Output:
        """Return the first of the user's own, in the user's order; raise CapabilityError where all are off."""
        own = [each for each in self._connection.outputs if not each.name.startswith(_VIRTUAL + _OURS)]
        if not own:
            raise CapabilityError("the KDE session has no output", "switch one on")
        by_name = {each.name: each for each in own}
        return next((by_name[name] for name in self._order if name in by_name), own[0])

    def free_name(self) -> str:
        """Return a name for a new one, of always the same: KWin remembers where each was and how it was scaled."""
        taken = {each.name for each in self._connection.outputs}
        names = (f"{_OURS}{number}" for number in itertools.count(1))
        return next(name for name in names if _VIRTUAL + name not in taken)

    def _on_output(self, _proxy: Any, name: str) -> None:
        if len(self._told) < MAX_OUTPUTS:
            self._told.append(name)

    def _on_done(self, _proxy: Any) -> None:
        self._order, self._told = self._told, []


class Place:
    """Where an output lies among all of them, in the desktop's own pixels; follows its changes."""

    def __init__(self, manager: Any, output: Output, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._position = (0, 0)
        self._size = (0, 0)
        self._known: Rect | None = None
        self._proxy: Any = manager.get_xdg_output(output.proxy)
        self._proxy.dispatcher["logical_position"] = self._on_position
        self._proxy.dispatcher["logical_size"] = self._on_size
        # Of version 3 the output's own "done" says that both are told; each is looked at as it comes, for a pointer
        # that is off for one event harms nobody.

    @property
    def area(self) -> Rect | None:
        """What it covers; ``None`` before the compositor has said, or where it says nonsense."""
        return self._known

    def end(self) -> None:
        """Follow it no more."""
        if self._proxy is not None:
            self._proxy.destroy()
            self._proxy = None

    def _on_position(self, _proxy: Any, x: int, y: int) -> None:
        self._position = (x, y)
        self._tell()

    def _on_size(self, _proxy: Any, width: int, height: int) -> None:
        self._size = (width, height)
        self._tell()

    def _tell(self) -> None:
        width, height = self._size
        area = Rect(*self._position, width, height) if width > 0 and height > 0 else None
        if area is not None and area != self._known:
            self._known = area
            self._on_change()
