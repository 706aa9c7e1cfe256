"""What others took of the machine: counted from the kernel's figures, our own work left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine import load as machine
from harness.machine.load import Reading, Tree, busy_seconds, load_between
from tests.support.waiting import eventually

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SPIN = "while True: pass"


def readings(*rows: tuple[float, float, float]) -> list[Reading]:
    return [Reading(*row) for row in rows]


def test_what_the_test_burns_itself_is_no_excuse() -> None:
    load = load_between(readings((0, 0, 0), (0.5, 1.0, 1.0), (1.0, 2.0, 2.0)), cpus=2)
    assert (load.average, load.worst) == (0, 0)


def test_one_foreign_loop_on_two_cpus_is_half_of_them() -> None:
    load = load_between(readings((0, 0, 0), (0.5, 0.9, 0.4), (1.0, 1.8, 0.8)), cpus=2)
    assert (load.average, load.worst, load.cpus) == (pytest.approx(0.5), pytest.approx(0.5), 2)


def test_a_short_burst_of_others_counts_although_the_average_is_low() -> None:
    rows = [(0.5 * n, 0.0 if n < 10 else 0.9, 0.0) for n in range(20)]
    load = load_between(readings(*rows), cpus=2)
    assert load.average < machine.BUSY_ON_AVERAGE
    assert load.worst == pytest.approx(0.9)


def test_a_last_window_too_short_for_ticks_is_not_the_worst() -> None:
    load = load_between(readings((0, 0, 0), (0.5, 0.0, 0.0), (0.51, 0.02, 0.0)), cpus=2)
    assert load.worst == 0


def test_only_cpus_that_may_be_used_count_and_interrupts_are_nobodys() -> None:
    stat = "cpu 9 9 9 9 9 9 9 9\ncpu0 100 10 30 5000 70 1000 1000 60 0 0\ncpu1 1 0 0 0 0 0 0 0\nintr 5\n"
    assert busy_seconds(stat, {0}) == pytest.approx(200 * TICK_S)
    assert busy_seconds(stat, {0, 1}) == pytest.approx(201 * TICK_S)
    assert machine.cpus_in(stat) == {0, 1}


class FakeProc:
    """A ``/proc`` of files, for processes that come, go and lose their parents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, pid: int, parent: int, ticks: int, *children: int, start: int = 1) -> None:
        fields = ["R", str(parent), *["0"] * 9, str(ticks), "0", "0", "0", *["0"] * 4, str(start), "0"]
        (self.folder / str(pid) / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.folder / str(pid) / "stat").write_text(f"{pid} (a) b) {' '.join(fields)}")
        (self.folder / str(pid) / "task" / str(pid) / "children").write_text(" ".join(map(str, children)))

    def end(self, pid: int) -> None:
        (self.folder / str(pid) / "stat").unlink()
        (self.folder / str(pid) / "task" / str(pid) / "children").unlink()


def test_an_orphan_stays_our_own_and_what_it_used_is_kept(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    tree = Tree(10, tmp_path)
    proc.put(10, 1, 5, 11)
    proc.put(11, 10, 20, 12)
    proc.put(12, 11, 100)
    assert tree.seconds() == pytest.approx(125 * TICK_S)
    # 11 ends and is waited for by 10, which then has its 20 ticks; its child goes to init.
    proc.end(11)
    proc.put(10, 1, 25)
    proc.put(12, 1, 130)
    assert tree.seconds() == pytest.approx(155 * TICK_S)
    assert tree.seconds() == pytest.approx(155 * TICK_S)
    proc.end(12)
    assert tree.seconds() == pytest.approx(155 * TICK_S)


def test_a_pid_that_somebody_else_got_is_not_our_own(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    tree = Tree(10, tmp_path)
    proc.put(10, 1, 5, 11)
    proc.put(11, 10, 20)
    tree.seconds()
    proc.put(10, 1, 25)
    proc.put(11, 1, 900, start=2)
    assert tree.seconds() == pytest.approx(25 * TICK_S)


def test_a_child_that_spins_is_our_own_and_one_of_somebody_else_is_not() -> None:
    """The kernel's real figures, whatever else this machine does: others only ever add."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as own:
        tree = Tree(os.getpid())
        before = tree.seconds()
        eventually(lambda: tree.seconds() - before > 0.3, "the child's CPU time")
        own.kill()
    # A shell starts it and ends: its parent is init, and this process has never seen it.
    script = f"{sys.executable} -c '{SPIN}' >/dev/null 2>&1 & echo $!"
    spinning = int(subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout)
    try:
        reader = machine.Reader()
        first = reader.read()

        def used() -> int:
            return sum(map(int, Path(f"/proc/{spinning}/stat").read_text().split()[13:15]))

        begun = used()
        eventually(lambda: (used() - begun) * TICK_S > 1.0, "the stranger's CPU time")
        load = load_between([first, reader.read()], reader.cpus)
        assert load.average > 0.05, load
    finally:
        os.kill(spinning, 9)
