"""What pairs of two builds come to on a real link: which are believed, and what a build lost."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import pytest

from harness.analysis.definitions import FIGURES
from harness.analysis.results import CaseResult, Metric, Quietness, Status
from harness.builds import ab, bisect, pairing
from harness.builds import machine as looking
from harness.builds.make import Build
from harness.builds.origin import Kind, Origin
from harness.builds.outcomes import conclude
from harness.builds.pairing import PairedRun
from harness.builds.repository import Commit
from harness.builds.worker import Ran, Worker
from harness.scenario.expand import expand
from punktfunk.errors import BusyMachineError, CapabilityError, CheckFailedError

SCENARIO = "name: link\nseed: 3\nmedia: {{frames: 60}}\nlink: {{backend: {backend}}}\n"


def machine(*, others: float, yielding: float = 0.0, quiet: bool = True) -> Quietness:
    reasons = [] if quiet else [f"other processes took {others:.0%} of 2 CPUs"]
    return Quietness(
        quiet=quiet, reasons=reasons, seconds=2, cpus=2, others=others, others_worst=1, yielding=yielding, own=0.1
    )  # fmt: skip


QUIET = machine(others=0.0)


def side(status: Status = Status.PASSED, found: Quietness = QUIET, backend: str = "tun") -> CaseResult:
    figures = {"encode_p50": 2.0, "case_cpu": 900.0} if status is Status.PASSED else {}
    return CaseResult(
        id="link",
        scenario="link",
        seed=3,
        protocol="punktfunk/1",
        backend=backend,
        status=status,
        reason="" if figures else "the handshake took too long",
        machine=found,
        metrics={
            name: Metric(value=value, unit=FIGURES[name].unit, better=FIGURES[name].better)
            for name, value in figures.items()
        },
    )


def ran(folder: Path, both: list[tuple[CaseResult, CaseResult]], backend: str = "tun") -> PairedRun:
    """Return pairs that have run, of builds that nobody started."""
    scenario = folder / "link.yaml"
    scenario.write_text(SCENARIO.format(backend=backend), encoding="utf-8")
    runs = ab.runs_of(scenario, None, None, "", ())
    [case] = runs.cases
    nobody = cast(Worker, None)
    return PairedRun(nobody, nobody, runs, folder, pairs={case.id: both}, count=len(both))


@pytest.mark.parametrize("busy_side", [0, 1])
def test_a_busy_pair_is_told_of_by_the_side_that_was_busy_and_not_by_work_that_yields(
    busy_side: int, tmp_path: Path
) -> None:
    """Most of the CPUs went to work at idle priority on the other side, which nobody waited for."""
    sides = [side(found=machine(others=0.9, yielding=0.9))] * 2
    sides[busy_side] = side(found=machine(others=0.5, quiet=False))
    both = [(side(), side())] * 9 + [(sides[0], sides[1])]
    [note] = conclude(ran(tmp_path, both), ["encode_p50"]).notes
    assert note.endswith("are of 9 pairs: in 1 other processes took 50% of 2 CPUs")
    alone = conclude(ran(tmp_path, both[-1:]), ["encode_p50"])
    assert isinstance(alone.refused, BusyMachineError)
    assert alone.refused.cause == "no latency is worth believing: other processes took 50% of 2 CPUs"
    assert (alone.findings, alone.exit_code) == ([], BusyMachineError.exit_code)
    assert conclude(ran(tmp_path, both), ["case_cpu"]).notes == [], "CPU time is of all pairs"


@pytest.mark.parametrize(
    ("backend", "gone", "lost"), [("tun", 1, False), ("tun", 2, False), ("tun", 3, True), ("sim", 1, True)]
)
def test_on_a_real_link_a_start_may_fail_for_once_and_in_virtual_time_never(
    backend: str, gone: int, *, lost: bool, tmp_path: Path
) -> None:
    both = [
        (side(backend=backend), side(Status.FAULT if number < gone else Status.PASSED, backend=backend))
        for number in range(6)
    ]
    outcome = conclude(ran(tmp_path, both, backend), ["case_cpu"])
    assert outcome.lost is lost
    assert (outcome.exit_code == CheckFailedError.exit_code) is lost
    assert f"head came to no result in {gone} of 6 runs" in outcome.notes[0]


class Machine:
    """What :class:`harness.machine.watch.Watch` finds of it: quiet before a comparison, ``state`` while pairs run."""

    state = QUIET

    @classmethod
    def watch(cls, while_pairs_run: bool) -> type:
        """Return a stand-in for ``Watch``."""

        class Watch:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            @property
            def found(self) -> Quietness:
                return cls.state if while_pairs_run else QUIET

        return Watch


class Steady:
    """A build's process whose every run of a case on a real link measures the same."""

    def __init__(self, build: Build) -> None:
        self.build = build

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cases(self, _file: Path, _seed: int | None) -> list[str]:
        """Return the case of :data:`SCENARIO`."""
        return ["link"]

    def run(self, *_: Any) -> Ran:
        """Return a result that passed."""
        return Ran(side(), 0.01)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ab.Request:
    """Return what is asked of two builds that measure the same and that nobody has to make."""

    def resolved(name: str, _repository: object) -> Origin:
        return Origin(Kind.REVISION, name * 40, name, tmp_path)

    def built(origin: Origin, _cache: object, _name: str) -> Build:
        return Build(origin, tmp_path, "")

    for module, name in ((ab, "resolve"), (bisect, "revision")):
        monkeypatch.setattr(module, name, resolved)
    monkeypatch.setattr(ab, "built", built)
    for module in (ab, bisect):
        monkeypatch.setattr(module, "Worker", Steady)
    monkeypatch.setattr(pairing, "Watch", Machine.watch(True))
    monkeypatch.setattr(looking, "Watch", Machine.watch(False))
    monkeypatch.setattr(looking, "LOOK_S", 0.0)
    monkeypatch.setattr(Machine, "state", QUIET)
    scenario = tmp_path / "link.yaml"
    scenario.write_text(SCENARIO.format(backend="tun"), encoding="utf-8")
    return ab.Request(
        "a", "b", scenario, ("encode_p50",), pairs=3, out=tmp_path / "reports", cache=tmp_path,
        repository=tmp_path, plain=True, charts=False,
    )  # fmt: skip


def test_pairs_that_a_busy_machine_spoilt_are_kept_and_quiet_ones_are_added(
    steady: ab.Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Machine, "state", machine(others=0.5, quiet=False))
    with pytest.raises(BusyMachineError, match="no latency is worth believing"):
        ab.run(steady)
    (run,) = steady.out.iterdir()
    assert f"the same with --resume {run} --pairs N adds pairs to these" in capsys.readouterr().out
    kept = json.loads((run / "ab.json").read_text())
    assert (kept["pairs"], kept["exit_code"], kept["findings"]) == (3, BusyMachineError.exit_code, [])
    assert "could not be judged" in (run / "ab.html").read_text(encoding="utf-8")
    monkeypatch.setattr(Machine, "state", QUIET)
    assert ab.run(replace(steady, resume=str(run), pairs=12)) == 0
    kept = json.loads((run / "ab.json").read_text())
    assert (kept["pairs"], kept["findings"][0]["pairs"], kept["findings"][0]["verdict"]) == (15, 12, "same")
    assert "are of 12 pairs: in 3 other processes took 50% of 2 CPUs" in kept["notes"][0]


def test_what_ran_before_an_interruption_is_kept_also_where_nothing_of_it_can_be_judged(
    steady: ab.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "state", machine(others=0.5, quiet=False))
    ran_already = iter(range(6))

    def interrupted(_worker: Steady, *_: Any) -> Ran:
        if next(ran_already, None) is None:
            raise KeyboardInterrupt
        return Ran(side(), 0.01)

    monkeypatch.setattr(Steady, "run", interrupted)
    assert ab.run(steady) == 130
    (run,) = steady.out.iterdir()
    assert json.loads((run / "ab.json").read_text())["pairs"] == 2, "one more was the warm-up"


@pytest.mark.parametrize(
    ("state", "raised", "rounds"),
    [(machine(others=0.5, quiet=False), BusyMachineError, 1), (QUIET, CapabilityError, bisect.ROUNDS)],
    ids=["busy", "too few"],
)
def test_what_a_search_measured_of_its_ends_is_a_comparison_that_ab_goes_on_with(
    state: Quietness,
    raised: type[CapabilityError],
    rounds: int,
    steady: ab.Request,
    monkeypatch: pytest.MonkeyPatch,
    *,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Machine, "state", state)

    class History:
        """A repository that has two commits."""

        path = steady.repository

        def __init__(self, _path: Path) -> None:
            pass

        def commit(self, name: str) -> Commit:
            """Return the commit of that name."""
            return Commit(name, "Begin", "nobody", "today")

    monkeypatch.setattr(bisect, "Repository", History)
    request = bisect.Request(
        "a", "b", steady.scenario, "encode_p50", pairs=1, out=steady.out, cache=steady.cache,
        repository=steady.repository, charts=False,
    )  # fmt: skip
    with pytest.raises(raised) as refused:
        bisect.run(request)
    assert type(refused.value) is raised
    (run,) = steady.out.glob("*/ends")
    # Each round but the last says how many more it wants; then it is said how to add to what is kept.
    *_, said = told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ends: ")]
    assert len(told) == rounds
    words = shlex.split(said.partition("to add others: ")[2])
    assert words[:5] == ["punktfunk-lab", "ab", "a", "b", str(steady.scenario)]
    options = dict(zip(words[5::2], words[6::2], strict=True))
    case = options.pop("--case")
    assert case in {case.id for case in expand(steady.scenario).cases}
    assert options == {"--metric": "encode_p50", "--resume": str(run), "--pairs": str(2 ** (rounds - 1))}
    pairs = 2 ** (rounds - 1)
    assert json.loads((run / "ab.json").read_text())["pairs"] == pairs
    monkeypatch.setattr(Machine, "state", QUIET)
    assert ab.run(replace(steady, resume=str(run), pairs=12)) == 0
    assert json.loads((run / "ab.json").read_text())["pairs"] == pairs + 12
