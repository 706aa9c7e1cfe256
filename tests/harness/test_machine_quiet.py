"""Was the machine quiet: the kernel's counts as they are read, the verdict at its limits, and who took the time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.results import Quietness
from harness.machine import kernel, load
from harness.machine.others import Others
from harness.machine.watch import (
    PRESSURE,
    RUN_DELAY,
    SOME_OTHERS,
    SOME_STEAL,
    STEAL,
    THROTTLED,
    TIMERS_LATE,
    Watch,
    judge,
)
from tests.support.waiting import eventually

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PSI = "some avg10=1.00 avg60=2.00 avg300=3.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
QUIET = Quietness(quiet=True, seconds=10, cpus=2, others=0.0, others_worst=0.0, own=0.5)


def test_pressure_and_quota_are_read_in_seconds_and_their_absence_is_no_zero(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text(PSI)
    (tmp_path / "cpu.stat").write_text("usage_usec 9\nnr_throttled 4\nthrottled_usec 1250000\n")
    assert kernel.stalled_s(tmp_path / "cpu") == 2.5
    assert kernel.throttled_s(tmp_path / "cpu.stat") == 1.25
    assert kernel.stalled_s(tmp_path / "none") is None
    assert kernel.throttled_s(tmp_path / "none") is None


def test_steal_is_that_of_the_cpus_that_may_be_used() -> None:
    stat = "cpu 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 30 0 0\ncpu1 1 1 1 1 1 1 1 500 0 0\ncpu10 0 0 0 0 0 0 0 7 0 0\n"
    assert kernel.steal_s(stat, {0}) == pytest.approx(30 * TICK_S)
    assert kernel.steal_s(stat, {1, 10}) == pytest.approx(507 * TICK_S)


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [("/", "/user/run", "user/run"), ("/box", "/box/run", "run"), ("/box", "/elsewhere", ""), ("/", "/", "")],
)
def test_the_own_cgroup_is_found_below_its_mount_also_in_a_container(
    root: str, path: str, below: str, tmp_path: Path
) -> None:
    mounted = tmp_path / "cgroup"
    (mounted / "user/run").mkdir(parents=True)
    (mounted / "run").mkdir()
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(f"4:memory:/other\n0::{path}\n")
    (tmp_path / "self/mountinfo").write_text(
        f"30 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 {root} {mounted} rw - cgroup2 none rw\n"
    )
    assert kernel.own_cgroup(tmp_path) == mounted / below


class FakeProc:
    """Processes with threads that wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def thread(self, pid: int, tid: int, name: str, waited_ns: int) -> None:
        task = self.folder / str(pid) / "task" / str(tid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "comm").write_text(f"{name}\n")
        (task / "schedstat").write_text(f"77 {waited_ns} 5\n")

    def process(self, pid: int, ticks: int, *, name: str = "cc1", start: int = 3, words: str = "") -> None:
        fields = ["R", "1", *["0"] * 9, str(ticks), "0", "900", "900", *["0"] * 4, str(start), "0"]
        (self.folder / str(pid)).mkdir(exist_ok=True)
        (self.folder / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}")
        (self.folder / str(pid) / "cmdline").write_text(words)

    def end(self, pid: int) -> None:
        for file in ("stat", "cmdline"):
            (self.folder / str(pid) / file).unlink()


def test_run_delay_is_that_of_threads_that_stamp_over_the_span_alone(tmp_path: Path) -> None:
    proc, delay = FakeProc(tmp_path), kernel.RunDelay(tmp_path)
    proc.thread(7, 7, "python3", 5_000_000_000)
    proc.thread(7, 8, "pf-send", 1_000_000_000)
    proc.thread(7, 9, "x264", 0)
    delay.read([7, 99])
    proc.thread(7, 7, "python3", 5_200_000_000)
    proc.thread(7, 8, "pf-send", 1_700_000_000)
    proc.thread(7, 9, "x264", 9_000_000_000)
    # One that begins within the span has waited within it.
    proc.thread(12, 12, "pump", 300_000_000)
    delay.read([7, 12])
    waited_s, name = delay.worst()
    assert (round(waited_s, 6), name) == (0.7, "pf-send")
    proc.thread(12, 12, "pump", 800_000_000)
    delay.read([12])
    waited_s, name = delay.worst()
    assert (round(waited_s, 6), name) == (0.8, "pump")
    assert delay.known
    assert kernel.RunDelay(tmp_path / "none").worst() == (0.0, "")


def test_who_used_most_is_named_by_program_also_when_it_has_ended(tmp_path: Path) -> None:
    proc, others = FakeProc(tmp_path), Others(tmp_path)
    (tmp_path / "uptime").write_text("no process")
    proc.process(5, 1000, name="old")
    proc.process(6, 500, name="ours")
    others.read({6})
    proc.process(5, 1040, name="old")
    proc.process(6, 900, name="ours")
    proc.process(8, 130, name="cc1")
    proc.process(9, 30, name="python3", words="python3\0/home/me/busy.py\0--password=hunter2\0")
    proc.process(10, 20, name="python3", words="python3\0-m\0http.server\0")
    others.read({6})
    proc.end(8)
    proc.process(11, 25, name="cc1")
    others.read({6})
    assert [(user.name, user.pids, round(user.seconds / TICK_S)) for user in others.most(4)] == [
        ("cc1", (11,), 155),
        ("old", (5,), 40),
        ("python3 busy.py", (9,), 30),
        ("python3 -m http.server", (10,), 20),
    ]
    # A number that another process has got since is another process.
    proc.process(9, 8, name="new", start=77)
    others.read({6})
    assert {user.name: round(user.seconds / TICK_S) for user in others.most(9)}["new"] == 8
    assert {user.name: round(user.seconds / TICK_S) for user in others.most(9)}["python3 busy.py"] == 30


def test_names_of_other_programs_are_printable(tmp_path: Path) -> None:
    proc, others = FakeProc(tmp_path), Others(tmp_path)
    others.read(())
    proc.process(5, 9, name="e\x1b[2J)\n")
    others.read(())
    assert [user.name for user in others.most(1)] == ["e\\x1b[2J)\\n"]


@pytest.mark.parametrize(
    ("figure", "limit", "above", "words"),
    [
        ("others", load.BUSY_ON_AVERAGE, 0.16, "other processes took 16% of 2 CPUs"),
        ("others_worst", load.BUSY_IN_A_WINDOW, 0.41, "41% in the worst half second"),
        ("steal", STEAL, 0.03, "the hypervisor took 3%"),
        ("throttled", THROTTLED, 0.04, "quota of this cgroup withheld 4%"),
    ],
)
def test_each_cause_alone_refuses_beyond_its_limit(
    figure: str, limit: float, above: float, words: str
) -> None:
    assert judge(QUIET.model_copy(update={figure: limit})).quiet
    found = judge(QUIET.model_copy(update={figure: above}))
    assert not found.quiet
    assert len(found.reasons) == 1
    assert words in found.reasons[0]


EFFECTS = [
    ("run_delay", RUN_DELAY, "thread pf-send waited for a CPU 90% of the time"),
    ("timers_late", TIMERS_LATE, "90% of 500 timers were late"),
    ("pressure", PRESSURE, "some task waited for a CPU 90% of the time (PSI)"),
]


@pytest.mark.parametrize(("figure", "limit", "words"), EFFECTS)
@pytest.mark.parametrize(("cause", "share"), [("others", SOME_OTHERS), ("steal", SOME_STEAL)])
def test_effects_refuse_where_somebody_else_is_there_and_are_a_remark_where_nobody_is(
    figure: str, limit: float, words: str, cause: str, share: float
) -> None:
    machine = QUIET.model_copy(update={"run_delay_thread": "pf-send", "timers": 500, cause: share})
    assert judge(machine.model_copy(update={figure: limit, cause: share * 1.01})).quiet
    alone = judge(machine.model_copy(update={figure: 0.9}))
    assert alone.quiet
    assert words in alone.remark
    together = judge(machine.model_copy(update={figure: 0.9, cause: share * 1.01}))
    assert [words in reason for reason in together.reasons] == [True]
    assert (together.quiet, together.remark) == (False, "")


def _used_s(pid: int) -> float:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) * TICK_S


def test_a_stranger_that_spins_is_found_out_and_named_and_a_child_of_ours_is_not(tmp_path: Path) -> None:
    """The kernel's real figures. Other programs of this machine only ever add to them."""
    program = tmp_path / "thief.py"
    program.write_text("while True: pass\n")
    # A shell starts it and ends: its parent is init, and this process has never seen it.
    script = f"{sys.executable} {program} >/dev/null 2>&1 & echo $!"
    spinning = int(subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout)
    own = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Watch(thieves=10_000) as watch:
            begun = _used_s(spinning)
            eventually(
                lambda: _used_s(spinning) - begun > 0.5 and _used_s(own.pid) > 0.3, "the CPU time of both"
            )
        found = watch.found
    finally:
        os.kill(spinning, 9)
        own.kill()
        own.wait()
    [thief] = [thief for thief in found.thieves if spinning in thief.pids]
    assert thief.name.endswith(" thief.py")
    assert thief.cpu_s >= 0.5
    assert not any(own.pid in thief.pids for thief in found.thieves)
    assert found.own > 0
    assert found.others > 0.02
    assert found.timers > 10
    # Two loops and this test want two CPUs; where there are more, nobody has to wait.
    assert found.run_delay is None or found.run_delay > 0 or len(os.sched_getaffinity(0)) > 2
