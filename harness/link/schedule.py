"""Follow a trace and timed changes for back ends that cannot do it themselves (the core's model can)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.link.base import CoreSpec, steady, with_point


@dataclass(frozen=True)
class Timeline:
    """Specs and when they come into force (ms from the start), and after how long it starts over (None: never)."""

    steps: list[tuple[float, CoreSpec]]
    period_ms: float | None = None


def timeline(spec: CoreSpec) -> Timeline:
    """Return what ``spec`` becomes over time; empty when it never changes.

    As in the core's model a trace that repeats starts over one step, as long as its last one, after its
    last point. Timed changes still apply through the trace's later points, which override only what they
    name.
    """
    trace, changes = spec.get("trace") or [], spec.get("changes") or []
    moments: list[tuple[float, str, dict[str, object]]] = [(p["at_ms"], "point", p) for p in trace]
    moments += [(c["at_ms"], "change", c["set"]) for c in changes]
    now = steady(spec)
    steps = []
    for at_ms, kind, what in sorted(moments, key=lambda moment: moment[0]):
        if at_ms <= 0:
            continue
        now = with_point(now, what) if kind == "point" else now | what
        steps.append((at_ms, now))
    if trace and spec.get("trace_repeat", True) and not changes and len(trace) > 1:
        last, before = trace[-1]["at_ms"], trace[-2]["at_ms"]
        return Timeline([(0.0, steady(spec)), *steps], last + (last - before))
    return Timeline(steps)


class Schedule:
    """A thread that applies a timeline as time goes by."""

    def __init__(self, points: Timeline, apply: Callable[[CoreSpec], None], *, name: str) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._points = points
        self._apply = apply
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"schedule {name}", daemon=True)

    def start(self) -> None:
        """Start the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait; raises what applying a step raised."""
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        begin = time.monotonic()
        lap = 0
        try:
            while True:
                for at_ms, spec in self._points.steps:
                    due = begin + (at_ms + lap * (self._points.period_ms or 0)) / 1000
                    if self._stop.wait(max(0.0, due - time.monotonic())):
                        return
                    self._apply(spec)
                if self._points.period_ms is None:
                    return
                lap += 1
        except BaseException as error:  # noqa: BLE001 - raised by stop() in the thread that asked
            self.error = error
