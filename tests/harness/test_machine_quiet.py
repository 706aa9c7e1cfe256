"""Was the machine quiet: the kernel's counts as they are read, the verdict at its limits, and who took the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.results import Quietness
from harness.machine import kernel, load
from harness.machine.kernel import LEAST_S
from harness.machine.others import Others
from harness.machine.watch import (
    OWN_WAITING,
    PRESSURE,
    RUN_DELAY,
    STEAL,
    THROTTLED,
    TIMERS_LATE,
    Watch,
    judge,
    run_delay_behind_others,
)
from tests.support.waiting import eventually

RECORDED = Path(__file__).with_name("quietness.jsonl")
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
    delay.read([7, 99], 100.0)
    proc.thread(7, 7, "python3", 5_200_000_000)
    proc.thread(7, 8, "pf-send", 1_700_000_000)
    proc.thread(7, 9, "x264", 9_000_000_000)
    # One that begins within the span has waited within it.
    proc.thread(12, 12, "pump", 300_000_000)
    proc.thread(12, 13, "pf-short", 400_000_000)
    delay.read([7, 12], 100.5)
    assert delay.worst() is None, "half a second is not long enough to say anything"
    proc.thread(7, 8, "pf-send", 1_800_000_000)
    delay.read([7, 12], 102.0)
    assert delay.worst() == (pytest.approx(0.8 / 2), "pf-send")
    # Its share is that of the time it was there: from the look before the one that saw it first.
    proc.thread(12, 12, "pump", 800_000_000)
    delay.read([12], 101.6)
    assert delay.worst() == (pytest.approx(0.8 / 1.6), "pump")
    assert kernel.RunDelay(tmp_path / "none").worst() is None


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
        ("steal", STEAL, 0.03, "the hypervisor took 3%"),
        ("throttled", THROTTLED, 0.04, "quota of this cgroup withheld 4%"),
    ],
)
def test_what_stops_a_cpu_refuses_alone_beyond_its_limit(
    figure: str, limit: float, above: float, words: str
) -> None:
    assert judge(QUIET.model_copy(update={figure: limit})).quiet
    found = judge(QUIET.model_copy(update={figure: above}))
    assert not found.quiet
    assert len(found.reasons) == 1
    assert words in found.reasons[0]


def with_figures(**figures: float | None) -> Quietness:
    return judge(QUIET.model_copy(update={"run_delay": 0.0, "run_delay_thread": "pf-send", **figures}))


def test_others_that_nobody_waits_for_are_a_remark_and_refuse_nothing() -> None:
    beside = with_figures(others=0.5, others_worst=0.9)
    assert (beside.quiet, beside.reasons) == (True, [])
    assert beside.remark == (
        "other processes took 50% of 2 CPUs (0% at idle priority), and hardly anything of ours waited for them"
    )
    assert with_figures(others=0.1).remark == ""
    assert "(49% at idle priority)" in with_figures(others=0.5, yielding=0.49).remark


@pytest.mark.parametrize(
    ("figures", "quiet"),
    [
        ({"others": load.BUSY_ON_AVERAGE, "others_worst": load.BUSY_IN_A_WINDOW}, True),
        ({"others": 0.16, "others_worst": 0.3}, False),
        ({"others": 0.1, "others_worst": 0.41}, False),
        ({"others": 0.9, "others_worst": 0.95, "yielding": 0.89}, True),
        ({"others": 0.9, "others_worst": 0.95, "yielding": 0.7}, False),
    ],
)
def test_where_nothing_of_ours_ran_that_could_wait_what_others_took_decides(
    figures: dict[str, float], *, quiet: bool
) -> None:
    found = with_figures(run_delay=None, **figures)
    assert found.quiet is quiet
    assert all(reason.startswith("other processes took ") for reason in found.reasons)


EFFECTS = [
    (
        "run_delay",
        RUN_DELAY,
        "thread pf-send waited for a CPU 40% of its time, some 20% behind other processes",
    ),
    ("timers_late", TIMERS_LATE, "40% of 500 timers were late"),
    ("pressure", PRESSURE, "some task waited for a CPU 80% of the time (PSI)"),
]


@pytest.mark.parametrize(("figure", "limit", "words"), EFFECTS)
def test_waiting_refuses_by_the_part_that_is_behind_others(figure: str, limit: float, words: str) -> None:
    much = 0.8 if figure == "pressure" else 0.4
    shared = {"timers": 500, "own": 0.3, "others": 0.3}
    assert with_figures(**shared, **{figure: 2 * limit}).quiet, "half of it is behind ourselves"
    found = with_figures(**shared, **{figure: much})
    assert found.reasons[0] == "other processes took 30% of 2 CPUs, 0% in the worst half second"
    assert words in found.reasons[1]
    assert (found.quiet, found.remark) == (False, "")
    own = with_figures(**{**shared, "others": 0.001}, **{figure: much})
    assert own.quiet, "a regression that burns more CPU is no excuse for itself"
    idle = with_figures(**{**shared, "others": 0.5, "yielding": 0.5}, **{figure: much})
    assert idle.quiet, "what yields is passed at once"


def test_a_session_that_waits_for_itself_is_a_remark() -> None:
    assert with_figures(run_delay=OWN_WAITING).remark == ""
    assert with_figures(run_delay=0.4, own=0.9).remark == (
        "the session itself fills this machine: thread pf-send waited for a CPU 40% of its time"
    )
    assert run_delay_behind_others(with_figures(run_delay=0.4, own=0.0)) == 0
    assert run_delay_behind_others(with_figures(run_delay=None)) is None


def test_pressure_of_work_at_idle_priority_is_its_own() -> None:
    beside = {"own": 0.2, "others": 0.8, "pressure": 0.9}
    assert with_figures(**beside, yielding=0.6).quiet
    assert not with_figures(**beside, yielding=0.4).quiet


def test_recorded_sessions_are_believed_alone_and_beside_idle_work_and_not_beside_a_loop() -> None:
    """The data set of ``tests/bench/quietness.py --json``: limits that are moved have to keep them apart."""
    rows = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    found = [(row.pop("beside"), judge(Quietness.model_validate(row))) for row in rows]
    calm, loops = (
        [machine for name, machine in found if name in group]
        for group in ({"alone", "2 idle"}, {"1 loop", "2 loops"})
    )
    assert [machine.quiet for machine in calm] == [True] * 8
    assert [machine.quiet for machine in loops] == [False] * 8
    assert all("behind other processes" in machine.reasons[1] for machine in loops)
    most, least = (
        edge(run_delay_behind_others(machine) or 0.0 for machine in group)
        for edge, group in ((max, calm), (min, loops))
    )
    assert 2 * most < RUN_DELAY < least / 2, "the limit is far from both"


def _used_s(pid: int) -> float:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) * TICK_S


def _orphan(script: str) -> int:
    """Start a program that is none of ours: a shell starts it and ends, so that its parent is init."""
    return int(
        subprocess.run(
            ["sh", "-c", f"{script} >/dev/null 2>&1 & echo $!"], capture_output=True, check=True
        ).stdout
    )


@pytest.fixture
def one_cpu() -> Iterator[int]:
    """Confine this process, and what it starts, to one CPU: two that want it have to share, whatever else runs."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    yield cpu
    os.sched_setaffinity(0, before)


def test_idle_work_on_cpus_that_we_may_not_use_excuses_nobody_on_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Confined to one CPU beside a loop, a run was called quiet for the idle build on the other one."""
    watch = Watch()
    elsewhere = iter([100.0, 101.5])

    def count(watching: Watch) -> object:
        return replace(watch._before, elsewhere_s=next(elsewhere))

    monkeypatch.setattr(Watch, "_count", count)
    with watch:
        pass
    for yielding_s, certain_s in ((0.0, 0.0), (1.2, 0.0), (2.0, 0.5)):
        watch._others.yielding_s = yielding_s
        assert watch._yielding_s() == pytest.approx(certain_s)


def test_a_stranger_that_spins_beside_us_is_found_out_and_named_and_a_child_of_ours_is_not(
    tmp_path: Path, one_cpu: int
) -> None:
    """The kernel's real figures. Other programs of this machine only ever add to them."""
    program = tmp_path / "thief.py"
    program.write_text("while True: pass\n")
    spinning = _orphan(f"{sys.executable} {program}")
    own = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Watch(thieves=10_000) as watch:
            begun, since = _used_s(spinning), time.monotonic()
            eventually(
                lambda: (
                    _used_s(spinning) - begun > 0.5
                    and _used_s(own.pid) > 0.3
                    and time.monotonic() - since > LEAST_S
                ),
                "the CPU time of both",
            )
        found = watch.found
    finally:
        os.kill(spinning, 9)
        own.kill()
        own.wait()
    [thief] = [thief for thief in found.thieves if spinning in thief.pids]
    assert thief.name.endswith(" thief.py")
    assert thief.cpu_s >= 0.5
    assert not thief.yields, "it has our priority, whichever that is"
    assert not any(own.pid in thief.pids for thief in found.thieves)
    assert found.own > 0
    assert found.others > 0.02
    assert found.timers > 10
    assert not found.quiet, found
    if found.run_delay is not None:  # else this kernel has no schedstat
        assert any("behind other processes" in reason for reason in found.reasons)
