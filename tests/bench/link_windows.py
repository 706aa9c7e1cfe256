"""What it costs to verify a link while a session runs: CPU time for each second of the session, on one core.

Packets of a session are decided by the core's own model and given to what counts them in the pump's process
(``harness.link.pumplog``) and to what judges the windows in the runner's (``harness.link.watching``), each second as in
a run, with the JSON between the two. Judging looks at every stretch of windows behind it, so that its cost grows with
the session up to a bound: it is measured in the first minute and from that bound on. CPU time, so that a busy machine
may run it too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from harness.link.pumplog import Rows, WindowCounter
from harness.link.scan import MOST_STRETCHES
from harness.link.watching import Watching
from harness.link.window import Window, window_from
from punktfunk.core._core import LinkModel

SECONDS: Final = 20
SPECS: Final[dict[str, dict[str, Any]]] = {
    "2 % loss, 10 ms": {"loss": {"kind": "independent", "p": 0.02}, "delay_us": 10_000.0},
    "bursts, 60 Mbit/s": {
        "loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.4, "bad": 1.0, "good": 0.0},
        "rate_kbps": 60_000,
        "delay_us": 5_000.0,
    },
    "jitter": {"delay_us": 20_000.0, "jitter_us": 3_000.0, "jitter_distribution": "normal"},
}
NAMES: Final = ("index", "direction", "copy", "verdict", "bytes", "in_ns", "due_ns", "out_ns")


def packets(spec: dict[str, Any], per_s: int) -> Rows:
    """Return the log of a session with so many packets a second, all of them on the way down, in bursts of frames."""
    model = LinkModel(json.dumps(spec), 3, 0)
    rows: list[tuple[int, ...]] = []
    burst = max(1, per_s // 60)
    for index in range(SECONDS * per_s):
        at = 1 + index // burst * burst * 1_000_000_000 // per_s + index % burst * 9_000
        outcome, deliveries = model.offer(at, 1200)
        verdict = {"delivered": 0, "lost": 1, "queue_dropped": 2}[outcome]
        due = deliveries[0][0] if deliveries else -1
        rows.append((index, 0, 0, verdict, 1200, at, due, due + 20_000 if due >= 0 else -1))
    return dict(zip(NAMES, np.array(rows, dtype=np.int64).T, strict=True))


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time that something takes."""
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1e3


def counted(spec: dict[str, Any], rows: Rows) -> tuple[float, list[Window]]:
    """Return what counting costs a second of the session (ms), and the windows."""
    counter = WindowCounter({"down": spec, "up": {}}, {"down": (0, 0), "up": (0, 0)}, 0)
    found: list[Window] = []
    spent = 0.0
    for second in range(SECONDS):
        until = (second + 1) * 1_000_000_000
        mine = (rows["in_ns"] >= until - 1_000_000_000) & (rows["in_ns"] < until)
        part = {name: column[mine] for name, column in rows.items()}
        offered = int((rows["in_ns"] < until).sum())

        def step(
            part: Rows = part, offered: int = offered, until: int = until, final: bool = second == SECONDS - 1
        ) -> None:
            counter.add(part)
            windows = counter.take({"down": offered, "up": 0}, until, final=final)
            said = json.dumps([asdict(window) for window in windows])
            found.extend(window_from(plain) for plain in json.loads(said))

        spent += cpu_ms(step)
    return spent / SECONDS, found


def judged(windows: list[Window]) -> tuple[float, float]:
    """Return what judging costs a second of the session (ms): in its first minute, and beyond the bound."""
    watching = Watching()

    def span(begin: int, end: int) -> None:
        for second in range(begin, end):
            window = windows[second % len(windows)]
            watching.add([replace(window, from_ms=second * 1e3, to_ms=second * 1e3 + 1e3)])

    first = cpu_ms(lambda: span(0, 60)) / 60
    span(60, MOST_STRETCHES)
    return first, cpu_ms(lambda: span(MOST_STRETCHES, MOST_STRETCHES + 60)) / 60


def main() -> None:
    """Print the table."""
    print(f"CPU ms for each second of a session; stretches are bounded at {MOST_STRETCHES} windows")
    print(f"{'link':>20} {'packets/s':>9} {'counting':>9} {'judging':>8} {'at the bound':>13}")
    for name, spec in SPECS.items():
        for per_s in (1_000, 4_000):
            spent, windows = counted(spec, packets(spec, per_s))
            first, later = judged(windows)
            print(f"{name:>20} {per_s:>9} {spent:>9.2f} {first:>8.2f} {later:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
