"""Verify a link while a session runs over it: windows in, a refusal with the window in which it changed out.

The probe before a session (:mod:`harness.link.verify`) proves what the link is at its start. This proves that it
stays so, and that traces and timed changes come when they should. :data:`FALSE_ALARM` bounds how often a link that is
as asked is refused (:mod:`harness.link.scan` has the argument, ``tests/unit/test_link_scan.py`` the simulation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from harness.link.judge import UNASKED
from harness.link.scan import Count, Scan, Stretch, loss_count
from harness.link.window import LossTally, Window
from punktfunk.errors import LinkUnverifiedError

FALSE_ALARM: Final = 1e-6
"""Probability, for a whole session, of refusing a link that is as asked."""
SERIES: Final = ("loss", "delay", "jitter", "duplicates", "corrupted")
_ALPHA: Final = FALSE_ALARM / (2 * len(SERIES))
_MOST_WINDOWS: Final = 7200
"""Windows that a result keeps: an hour of both directions. All are judged."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A stretch of windows in which a direction was not as asked."""

    direction: str
    series: str
    from_s: float
    to_s: float
    asked: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.direction}: {self.series} from {self.from_s:.1f} s to {self.to_s:.1f} s: "
            f"asked {self.asked}, found {self.found}"
        )


@dataclass(slots=True)
class _Series:
    scan: Scan
    windows: list[tuple[float, float]] = field(default_factory=list)
    """Beginning and end of each window that was added, in s."""

    def add(self, window: Window, counts: Sequence[Count]) -> Stretch | None:
        if not any(count.n for count in counts):
            return None
        self.windows.append((window.from_ms / 1e3, window.to_ms / 1e3))
        return self.scan.add(counts)


class Watching:
    """Judges windows as they come. No I/O: what a recorded session holds it judges the same."""

    def __init__(self, *, alpha: float = _ALPHA) -> None:
        self._series = {(way, name): _Series(Scan(alpha)) for way in ("down", "up") for name in SERIES}
        self._periodic = {way: _Periodic() for way in ("down", "up")}
        self.windows: list[Window] = []
        """Those that were judged, the first :data:`_MOST_WINDOWS`."""
        self.judged = 0
        self.deviations: list[Deviation] = []

    def add(self, windows: Sequence[Window]) -> None:
        """Judge windows, each direction in the order of time; what is off goes to ``deviations``."""
        for window in windows:
            self.judged += 1
            if len(self.windows) < _MOST_WINDOWS:
                self.windows.append(window)
            self._loss(window)
            self._delay(window)
            self._jitter(window)
            for chance in window.chances:
                count = Count(chance.packets, chance.events, chance.asked)
                self._note(window, chance.name, [count], f"{chance.asked:.3%}")

    def check(self, backend: str) -> None:
        """Raise :class:`LinkUnverifiedError`, naming each window, where something was off."""
        if self.deviations:
            said = "; ".join(str(deviation) for deviation in self.deviations[:4])
            raise LinkUnverifiedError(
                f"the {backend} link did not stay as asked: {said}",
                "figures from it are refused; link.windows.json in the case's folder has every window",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a result: how many windows were judged, and those that were off."""
        return {
            "windows": self.judged,
            "window_s": 1.0,
            "false_alarm": FALSE_ALARM,
            "packets": sum(window.packets for window in self.windows if window.loss),
            "off": [asdict(deviation) for deviation in self.deviations],
        }

    def _loss(self, window: Window) -> None:
        counts = [count for tally in window.loss if (count := _loss_of(tally)) is not None]
        asked = " or ".join(dict.fromkeys(_in_words(tally.asked) for tally in window.loss))
        self._note(window, "loss", counts, asked)
        off = self._periodic[window.direction].add(window)
        if off is not None:
            self.deviations.append(off)

    def _delay(self, window: Window) -> None:
        # None of them is off but by an accident of two clocks; the allowance is that of the probe.
        count = Count(window.delays, window.delays_off, UNASKED, least=0.0)
        stretch = self._series[window.direction, "delay"].add(window, [count])
        if stretch is not None:
            asked = "its delay" if window.asked_ms is None else f"{window.asked_ms:.3f} ms"
            found = "?" if window.found_ms is None else f"{window.found_ms:.3f} ms"
            self._deviate(
                window, "delay", stretch, asked, f"{found} ({stretch.events} of {stretch.n} packets off)"
            )

    def _jitter(self, window: Window) -> None:
        held = min(1.0, window.jitters_held)
        count = Count(window.jitters, window.jitters_below, 0.5, least=0.5 * (1 - held))
        stretch = self._series[window.direction, "jitter"].add(window, [count])
        if stretch is not None:
            self._deviate(
                window,
                "jitter",
                stretch,
                "half of the packets below the median",
                f"{stretch.events / stretch.n:.1%} ({stretch.events} of {stretch.n})",
            )

    def _note(self, window: Window, name: str, counts: Sequence[Count], asked: str) -> None:
        stretch = self._series[window.direction, name].add(window, counts)
        if stretch is not None:
            self._deviate(
                window,
                name,
                stretch,
                f"{asked} ({stretch.expected:.1f} of {stretch.n} packets)",
                f"{stretch.events / stretch.n:.3%} ({stretch.events})",
            )

    def _deviate(self, window: Window, name: str, stretch: Stretch, asked: str, found: str) -> None:
        series = self._series[window.direction, name]
        self.deviations.append(
            Deviation(
                window.direction,
                name,
                series.windows[stretch.first][0],
                series.windows[stretch.last][1],
                asked,
                f"{found}, p < 1e{math.ceil(stretch.log_p / math.log(10))}",
            )
        )


@dataclass(slots=True)
class _Periodic:
    """Periodic loss leaves nothing to chance: in any stretch its count is exact to one packet."""

    every: int | None = None
    from_ms: float = 0.0
    packets: int = 0
    lost: int = 0

    def add(self, window: Window) -> Deviation | None:
        tallies = [tally for tally in window.loss if tally.packets]
        if len(tallies) != 1 or tallies[0].asked.get("kind") != "periodic":
            self.every = None
            return None
        [tally] = tallies
        every = int(tally.asked["every"])
        if every != self.every:
            self.every, self.from_ms, self.packets, self.lost = every, window.from_ms, 0, 0
        self.packets += tally.packets
        self.lost += tally.lost
        here = abs(tally.lost - tally.packets / every) > 1
        if not here and abs(self.lost - self.packets / every) <= 1:
            return None
        lost, packets = (tally.lost, tally.packets) if here else (self.lost, self.packets)
        return Deviation(
            window.direction,
            "loss",
            (window.from_ms if here else self.from_ms) / 1e3,
            window.to_ms / 1e3,
            f"1 of every {every} packets",
            f"{lost} of {packets}",
        )


def _loss_of(tally: LossTally) -> Count | None:
    count = loss_count(tally.asked, tally.packets, tally.lost, tally.runs)
    if count is None or tally.exact:
        return count
    # What a full queue dropped is counted with it: more than was asked for says nothing, less says all.
    return None if count.chain is not None else replace(count, p=1.0, least=count.p)


def _in_words(loss: dict[str, Any]) -> str:
    match loss["kind"]:
        case "independent":
            return f"{loss['p']:.3%}"
        case "gilbert_elliott":
            return f"bursts (p {loss['p']:.4g}, r {loss['r']:.4g})"
        case other:
            return "none" if other == "none" else f"1 of every {loss.get('every')}"
