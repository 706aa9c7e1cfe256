"""Was the machine quiet over this span, and who took it if not.

::

    with Watch() as watch:
        measure()
    watch.found.quiet, watch.found.reasons, watch.found.thieves

What decides is what hurts: threads that stamp wait for a CPU, timers are late, tasks of the machine wait (PSI), a
hypervisor or a quota stops us. That other programs compute is not held against a span by itself: on many CPUs, or at
idle priority, nobody waits for them. But a session waits for itself too, on a machine that it fills, so that of all
waiting only a part is put down to others: their part of the CPU time that was used, by those who do not yield it to us.
A regression that burns more CPU is thus no excuse for itself. Where nothing of ours ran whose waiting could be
counted, what others took decides.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from harness.analysis.results import Quietness, Thief
from harness.machine import kernel, load
from harness.machine.others import Others

TIMER_S: Final = 0.02
"""Between two timers whose lateness is taken."""
LATE_S: Final = 0.005
"""A timer that is later has waited for a CPU: an idle one wakes in a tenth of a millisecond."""
OTHERS_EVERY: Final = 4
"""Windows between two looks at all processes of the machine."""
THIEVES: Final = 5
_MAX_TIMERS: Final = 1_000_000
"""Five and a half hours of them."""

STEAL: Final = 0.02
THROTTLED: Final = 0.02
RUN_DELAY: Final = 0.03
"""Of its time, that a thread waits behind others. ``tests/bench/quietness.py`` found at most 0.9 % alone and beside
work at idle priority, and at least 6.4 % beside a loop (ADR 0229)."""
TIMERS_LATE: Final = 0.01
PRESSURE: Final = 0.25
OWN_WAITING: Final = 0.10
"""A thread that waits longer, behind whomever, is worth a remark."""


@dataclass(slots=True)
class _Counts:
    """What the kernel has counted so far."""

    steal_s: float
    elsewhere_s: float
    """CPU time of the CPUs that this process may not use."""
    pressure_s: float | None
    cgroup_pressure_s: float | None
    throttled_s: float | None


class Watch:
    """Watch the machine from entering to leaving; ``found`` then says whether it was quiet.

    A thread reads every half second and sets timers between. The processes that stamp are those that this one has
    started, itself only with ``this_process``. At most ``thieves`` others are named.
    """

    def __init__(self, *, thieves: int = THIEVES, this_process: bool = False) -> None:
        self._thieves = thieves
        self._aside = frozenset() if this_process else frozenset({os.getpid()})
        self._reader = load.Reader()
        self._cpus = os.sched_getaffinity(0)
        self._cgroup = kernel.own_cgroup()
        self._readings: list[load.Reading] = []
        self._delay = kernel.RunDelay()
        self._others = Others()
        self._late_s: list[float] = []
        self._before = self._after = self._count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="machine watch", daemon=True)

    def __enter__(self) -> Self:
        self._before = self._count()
        self._read(others=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._read(others=True)
        self._after = self._count()

    @property
    def found(self) -> Quietness:
        """Return what was found over the whole span."""
        shares = load.load_between(self._readings, self._reader.cpus)
        first, last = self._readings[0], self._readings[-1]
        seconds = max(last.at_s - first.at_s, 1e-9)
        total = seconds * self._reader.cpus
        worst = self._delay.worst()
        late = np.array(self._late_s)
        found = Quietness(
            quiet=True,
            seconds=seconds,
            cpus=self._reader.cpus,
            others=shares.average,
            others_worst=shares.worst,
            yielding=min(shares.average, self._yielding_s() / total),
            own=min(1.0, (last.own_s - first.own_s) / total),
            steal=max(0.0, self._after.steal_s - self._before.steal_s) / total,
            pressure=_share(self._before.pressure_s, self._after.pressure_s, seconds),
            cgroup_pressure=_share(self._before.cgroup_pressure_s, self._after.cgroup_pressure_s, seconds),
            throttled=_share(self._before.throttled_s, self._after.throttled_s, total),
            run_delay=min(1.0, worst[0]) if worst else None,
            run_delay_thread=worst[1] if worst else "",
            timers=late.size,
            timers_late=float((late > LATE_S).mean()) if late.size else None,
            timer_p99_ms=float(np.quantile(late, 0.99, method="higher")) * 1e3 if late.size else None,
            timer_max_ms=float(late.max()) * 1e3 if late.size else None,
            thieves=[
                Thief(
                    name=user.name,
                    pids=list(user.pids),
                    cpu_s=round(user.seconds, 2),
                    yields=user.yields,
                )
                for user in self._others.most(self._thieves)
            ],
        )
        return judge(found)

    def _sample(self) -> None:
        due = time.monotonic() + TIMER_S
        while not self._over.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            if len(self._late_s) < _MAX_TIMERS:
                self._late_s.append(max(0.0, now - due))
            if now - self._readings[-1].at_s >= load.WINDOW_S:
                self._read(others=len(self._readings) % OTHERS_EVERY == 0)
            # A timer that was missed is late once, and not again for each that it should have been.
            due = max(due, time.monotonic()) + TIMER_S

    def _read(self, *, others: bool) -> None:
        self._readings.append(self._reader.read())
        own = self._reader.tree.pids
        self._delay.read(own - self._aside, self._readings[-1].at_s)
        if others:
            self._others.read(own)

    def _yielding_s(self) -> float:
        """Return what yields took of our CPUs for certain: of those that we may not use it may have taken all."""
        return max(0.0, self._others.yielding_s - (self._after.elsewhere_s - self._before.elsewhere_s))

    def _count(self) -> _Counts:
        cgroup = self._cgroup
        stat = Path("/proc/stat").read_text()
        return _Counts(
            kernel.steal_s(stat, self._cpus),
            load.busy_seconds(stat, load.cpus_in(stat) - self._cpus),
            kernel.stalled_s(Path("/proc/pressure/cpu")),
            kernel.stalled_s(cgroup / "cpu.pressure") if cgroup else None,
            kernel.throttled_s(cgroup / "cpu.stat") if cgroup else None,
        )


def rivals(found: Quietness) -> float:
    """Return the share of all CPUs that others took who do not yield to us."""
    return max(0.0, found.others - found.yielding)


def rivals_in_a_window(found: Quietness) -> float:
    """Return the same of the half second in which others took most, as far as is known: they yield in it as ever."""
    return found.others_worst * (rivals(found) / found.others if found.others else 0.0)


def run_delay_behind_others(found: Quietness) -> float | None:
    """Return the share of its time that the thread which waited most did so behind others; None where none is known.

    Whoever waits does so behind what runs: ours or theirs, by their parts. What yields is passed at once.
    """
    return None if found.run_delay is None else found.run_delay * _part(rivals(found), found.own)


def judge(found: Quietness) -> Quietness:
    """Return ``found`` with its verdict, reasons and remark; its figures decide, and nothing else."""
    reasons = []
    if found.steal is not None and found.steal > STEAL:
        reasons.append(f"the hypervisor took {found.steal:.0%} of the CPUs for others (steal)")
    if found.throttled is not None and found.throttled > THROTTLED:
        reasons.append(f"the CPU quota of this cgroup withheld {found.throttled:.0%}")
    waits = _waits(found)
    taken = rivals(found)
    in_a_window = rivals_in_a_window(found)
    too_much = taken > load.BUSY_ON_AVERAGE or in_a_window > load.BUSY_IN_A_WINDOW
    # Where nothing of ours ran, it cannot be seen whether it would have waited.
    if waits or (found.run_delay is None and too_much):
        took = f"other processes took {taken:.0%} of {found.cpus} CPUs, {in_a_window:.0%} in the worst half second"
        reasons += [took, *waits]
    remark = ""
    if not reasons and found.run_delay is not None and found.run_delay > OWN_WAITING:
        remark = (
            f"the session itself fills this machine: thread {found.run_delay_thread} waited for a CPU "
            f"{found.run_delay:.0%} of its time"
        )
    elif not reasons and found.others > load.BUSY_ON_AVERAGE:
        remark = (
            f"other processes took {found.others:.0%} of {found.cpus} CPUs "
            f"({found.yielding:.0%} at idle priority), and hardly anything of ours waited for them"
        )
    return found.model_copy(update={"quiet": not reasons, "reasons": reasons, "remark": remark})


def _waits(found: Quietness) -> list[str]:
    """Return what waited for others beyond the limits."""
    said = []
    taken = rivals(found)
    part = _part(taken, found.own)
    behind = run_delay_behind_others(found)
    if behind is not None and behind > RUN_DELAY:
        said.append(
            f"thread {found.run_delay_thread} waited for a CPU {found.run_delay:.0%} of its time, "
            f"some {behind:.0%} behind other processes"
        )
    if found.timers_late is not None and found.timers_late * part > TIMERS_LATE:
        said.append(
            f"{found.timers_late:.0%} of {found.timers} timers were late by more than {LATE_S * 1e3:.0f} ms"
        )
    # Work at idle priority waits as long as anybody computes: that is pressure which nobody of ours suffers from.
    if found.pressure is not None and found.pressure * _part(taken, found.own + found.yielding) > PRESSURE:
        said.append(f"some task waited for a CPU {found.pressure:.0%} of the time (PSI)")
    return said


def _part(share: float, rest: float) -> float:
    return share / (share + rest) if share > 0 else 0.0


def _share(before: float | None, after: float | None, of: float) -> float | None:
    return None if before is None or after is None else min(1.0, max(0.0, after - before) / of)
