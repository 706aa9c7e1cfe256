"""Windows of a session: what a link did in each second of it, beside what was asked for then. Data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

WINDOW_NS: Final = 1_000_000_000
"""A second: a jitter of a few ms is nothing beside it, and a change in mid-run is told within two or three."""


@dataclass(slots=True)
class LossTally:
    """Packets that met the same loss."""

    asked: dict[str, Any]
    """``loss`` of the spec, in the core's form."""
    packets: int
    lost: int
    runs: int = 1
    """In how many stretches that loss applied; a chain may enter each in any state."""
    exact: bool = True
    """Whether ``lost`` is what the loss took, and no full queue or device."""


@dataclass(slots=True)
class ChanceTally:
    """Packets that had the same chance of something."""

    name: Literal["duplicates", "corrupted"]
    asked: float
    packets: int
    events: int


@dataclass(slots=True)
class Window:
    """One direction from one moment to another, in ms since the session began."""

    direction: Literal["down", "up"]
    from_ms: float
    to_ms: float
    packets: int
    loss: list[LossTally] = field(default_factory=list)
    chances: list[ChanceTally] = field(default_factory=list)
    delays: int = 0
    """Packets whose delay follows from what was asked."""
    delays_off: int = 0
    """Those of them that were delayed otherwise."""
    asked_ms: float | None = None
    """Median of the delays asked for, of those that were off."""
    found_ms: float | None = None
    """And of those found."""
    jitters: int = 0
    """Packets whose delay nothing but the jitter decided."""
    jitters_below: int = 0
    """Those of them with at most the median that was asked for."""
    jitters_held: float = 0.0
    """Share of them, at most, that was held back to be reordered."""
    late_p99_ms: float | None = None
    """How late the pump's own thread let packets go: no matter of the link."""
    late_max_ms: float | None = None


def window_from(plain: dict[str, Any]) -> Window:
    """Return the window that ``dataclasses.asdict`` made plain."""
    return Window(
        **plain
        | {
            "loss": [LossTally(**tally) for tally in plain["loss"]],
            "chances": [ChanceTally(**tally) for tally in plain["chances"]],
        }
    )
