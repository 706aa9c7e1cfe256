"""Who yields the CPU to us: work of ``SCHED_IDLE`` beside us, and cgroups with ``cpu.idle``, in either version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine.others import Others
from harness.machine.priority import Priority
from tests.support.waiting import eventually

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class FakeMachine:
    """A ``/proc`` and a hierarchy of cgroups."""

    def __init__(self, folder: Path, *, version: int = 2, root: str = "/") -> None:
        self.proc, self.cgroups, self.version = folder / "proc", folder / "cgroup", version
        (self.proc / "self").mkdir(parents=True)
        mount = "cgroup cgroup rw,cpu,cpuacct" if version == 1 else "cgroup2 cgroup2 rw"
        other = f"29 23 0:26 / {folder}/memory rw - cgroup cgroup rw,memory\n"
        (self.proc / "self/mountinfo").write_text(f"{other}30 23 0:27 {root} {self.cgroups} rw - {mount}\n")

    def group(self, path: str, idle: str = "0") -> None:
        (self.cgroups / path).mkdir(parents=True, exist_ok=True)
        (self.cgroups / path / "cpu.idle").write_text(f"{idle}\n")

    def put(self, pid: str, group: str, autogroup: str = "") -> None:
        (self.proc / pid).mkdir(exist_ok=True)
        line = f"5:cpu,cpuacct:{group}\n0::/" if self.version == 1 else f"4:memory:/m\n0::{group}"
        (self.proc / pid / "cgroup").write_text(f"9:name=systemd:/cpu\n{line}\n")
        if autogroup:
            (self.proc / pid / "autogroup").write_text(f"/autogroup-{autogroup} nice 0\n")

    def yields(self, policy: int = os.SCHED_OTHER, *, idle: bool = False) -> bool:
        return Priority(self.proc, idle).yields(7, policy)


@pytest.fixture(params=[1, 2], ids=["cgroup v1", "cgroup v2"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> FakeMachine:
    made = FakeMachine(tmp_path, version=request.param)
    for group, idle in (("ours", "0"), ("ours/deep", "0"), ("rest", "1"), ("rest/deep", "0")):
        made.group(group, idle)
    return made


def test_idle_policy_yields_within_our_cgroup_unless_we_have_it_too(machine: FakeMachine) -> None:
    machine.put("self", "/ours")
    machine.put("7", "/ours")
    assert machine.yields(os.SCHED_IDLE)
    assert not machine.yields(os.SCHED_OTHER)
    assert not machine.yields(os.SCHED_BATCH)
    assert not machine.yields(os.SCHED_IDLE, idle=True)


def test_an_idle_cgroup_yields_as_a_whole_and_a_group_that_is_not_has_its_share_whatever_is_in_it(
    machine: FakeMachine,
) -> None:
    machine.put("self", "/ours")
    for theirs, yields in (
        ("/rest", True),
        ("/rest/deep", True),
        ("/ours/deep", False),
        ("/", False),
        ("/gone", False),
    ):
        machine.put("7", theirs)
        assert machine.yields() is yields, theirs
    machine.put("7", "/ours/deep")
    assert not machine.yields(os.SCHED_IDLE), "the kernel compares its group with us"


def test_two_that_are_idle_compete(machine: FakeMachine) -> None:
    machine.put("self", "/rest")
    machine.put("7", "/rest/deep")
    assert not machine.yields(), "what both are in does not tell them apart"
    machine.group("more", "1")
    machine.put("7", "/more")
    assert not machine.yields()
    machine.put("self", "/")
    assert machine.yields()
    assert not machine.yields(idle=True)


def test_in_the_root_cgroup_an_autogroup_has_its_share_whatever_is_in_it(machine: FakeMachine) -> None:
    machine.put("self", "/", autogroup="3")
    machine.put("7", "/", autogroup="3")
    assert machine.yields(os.SCHED_IDLE)
    machine.put("7", "/", autogroup="4")
    assert not machine.yields(os.SCHED_IDLE)
    for pid, number in (("self", "3"), ("7", "4")):
        machine.put(pid, "/ours", autogroup=number)
    assert machine.yields(os.SCHED_IDLE), "elsewhere the kernel has no use for autogroups"


@pytest.mark.parametrize("theirs", ["/box/rest", "/elsewhere", "/../rest"])
def test_a_container_sees_its_part_of_the_hierarchy_and_what_is_beyond_does_not_count(
    theirs: str, tmp_path: Path
) -> None:
    machine = FakeMachine(tmp_path, root="/box")
    machine.group("rest", "1")
    machine.put("self", "/box/ours")
    machine.put("7", theirs)
    assert machine.yields() is (theirs == "/box/rest")


def test_without_cgroups_policies_alone_decide_and_what_has_ended_yields_nothing(
    machine: FakeMachine, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    assert Priority(tmp_path / "bare", idle=False).yields(7, os.SCHED_IDLE)
    assert not Priority(tmp_path / "bare", idle=False).yields(7, os.SCHED_OTHER)
    machine.put("self", "/ours")
    assert not machine.yields(os.SCHED_IDLE)


def test_a_group_that_becomes_idle_is_seen_at_the_next_look(machine: FakeMachine) -> None:
    machine.put("self", "/")
    machine.put("7", "/ours")
    priority = Priority(machine.proc, idle=False)
    assert not priority.yields(7, os.SCHED_OTHER)
    machine.group("ours", "1")
    assert not priority.yields(7, os.SCHED_OTHER), "read once a look"
    priority.look_again()
    assert priority.yields(7, os.SCHED_OTHER)


def stat(
    proc: Path,
    pid: int,
    parent: int,
    own: int,
    children: int = 0,
    *,
    policy: int = os.SCHED_IDLE,
) -> None:
    times = [*["0"] * 9, str(own), "0", str(children), "0", *["0"] * 4, "3"]
    fields = ["R", str(parent), *times, *["0"] * 18, str(policy)]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (cc1) {' '.join(fields)}")


def test_time_of_children_that_began_and_ended_unseen_yields_with_their_parent(machine: FakeMachine) -> None:
    """A build of many short processes at idle priority: most of its time is in the children of its shell."""
    proc = machine.proc
    for pid in ("self", "5", "6", "9"):
        machine.put(pid, "/ours")
    others = Others(proc, Priority(proc, idle=False))
    stat(proc, 5, 1, own=10, children=1000)
    stat(proc, 6, 5, own=40)
    stat(proc, 9, 1, own=0, policy=os.SCHED_OTHER)
    others.read(())
    assert others.yielding_s == 0
    # 6 has used 20 more, was waited for with its 60, and so were children of 300 that nobody saw.
    (proc / "6/stat").unlink()
    stat(proc, 5, 1, own=15, children=1000 + 60 + 300)
    stat(proc, 9, 1, own=70, policy=os.SCHED_OTHER)
    others.read(())
    assert others.yielding_s == pytest.approx((5 + 20 + 300) * TICK_S)
    assert [(user.seconds, user.yields) for user in others.most(3)] == [
        (pytest.approx(70 * TICK_S), False),
        (pytest.approx(5 * TICK_S), True),
    ]


def test_the_kernel_agrees_about_a_process_of_idle_policy() -> None:
    """A child of this process in its cgroup: it yields unless this run is at idle priority itself."""
    others, own = Others(), os.sched_getscheduler(0)
    others.read(())
    with subprocess.Popen(["chrt", "--idle", "0", sys.executable, "-S", "-c", "while True: pass"]) as child:
        try:
            eventually(
                lambda: int(Path(f"/proc/{child.pid}/stat").read_text().split()[13]) > 2,
                "the child's CPU time",
            )
            others.read(())
        finally:
            child.kill()
    assert [user.yields for user in others.most(10_000) if child.pid in user.pids] == [own != os.SCHED_IDLE]
