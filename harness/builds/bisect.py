"""The ``bisect`` command: the commit of a history that made a figure worse, by git's own bisection."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.analysis import paired
from harness.analysis.paired import Finding
from harness.analysis.paired_run import PAGE
from harness.analysis.results import Quietness
from harness.analysis.stats import Verdict
from harness.builds import ab, folders, machine, outcomes
from harness.builds.cache import Cache
from harness.builds.origin import revision
from harness.builds.pairing import PairedRun, Runs
from harness.builds.repository import Commit, Repository
from harness.builds.worker import Worker
from harness.report import builds_text as text
from harness.report.text import number
from harness.run.store import new_folder
from harness.scenario.link import Backend
from punktfunk.errors import (
    BisectError,
    BuildError,
    BusyMachineError,
    CapabilityError,
    PunktfunkError,
    UsageError,
)
from punktfunk.terminal import say

ROUNDS: Final = 4
"""Times that a comparison which cannot tell is given as many pairs again as it has, so that its error stays small."""
FOUND: Final = "# first bad commit: ["
POSSIBLE: Final = "# possible first bad commit: ["
_VERDICT: Final = "verdict"
"""Folder of the comparison of the commit that was found with the one before it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    good: str
    bad: str
    scenario: Path
    metric: str
    expression: str = ""
    case: str = ""
    pairs: int = 20
    seed: int | None = None
    backend: Backend | None = None
    out: Path = Path("reports")
    cache: Path | None = None
    repository: Path = Path()
    charts: bool = True
    command: str = ""


@dataclass(slots=True)
class _Search:
    """What is known while the search goes on."""

    request: Request
    runs: Runs
    cache: Cache
    repository: Repository
    folder: Path
    measured: int = 0
    skipped: list[str] = field(default_factory=list)
    """Commits that could not be judged, and why."""


def run(request: Request) -> int:
    """Find the first commit between GOOD and BAD that is on the bad side of a metric; print it and return 0.

    Raises BisectError where none can be named, and what :func:`harness.builds.ab.run` raises.
    """
    ab.require_figures([request.metric])
    ids = (request.case,) if request.case else ()
    runs = ab.runs_of(request.scenario, request.seed, request.backend, request.expression, ids)
    search = _Search(
        request=request,
        runs=runs,
        cache=ab.cache_of(request.cache),
        repository=Repository(request.repository),
        folder=Path(),
    )
    machine.require_quiet(runs, [request.metric])
    good, bad = _commit(search, request.good), _commit(search, request.bad)
    search.folder = new_folder(request.out, ["bisect", runs.cases[0].scenario])
    say(f"good  {good.short}")
    say(f"bad   {bad.short}")
    whole = _compared(search, good, bad, "ends")
    if whole.verdict not in {Verdict.REGRESSION, Verdict.IMPROVEMENT}:
        raise BisectError(
            f"{request.metric} of {whole.case} did not move between them: {text.change(whole)} in {whole.pairs} pairs",
            "choose another metric, case or pair of commits",
        )
    if whole.verdict is Verdict.IMPROVEMENT and whole.gates:
        say(f"note: {request.metric} became better; the search is for the commit that did that")
    say(_moved(whole, "good", "bad"))
    search.runs = runs.only(whole.case)
    first = _bisected(search, good, bad, whole)
    return _conclude(search, first, good)


def _commit(search: _Search, name: str) -> Commit:
    found = search.repository.commit(name)
    if found is None:
        raise UsageError(
            f"'{name}' is no revision of {search.repository.path.resolve()}",
            "a bisection wants two commits of a history",
        )
    return found


def _compared(search: _Search, a: Commit, b: Commit, name: str) -> Finding:
    """Compare two commits by the metric until that is judged; return the case in which it moved most surely."""
    metric = search.request.metric
    sides = {"a": a, "b": b}
    spans: list[Quietness] = []
    builds = {
        side: ab.built(revision(commit.sha, search.repository), search.cache, commit.sha[:12])
        for side, commit in sides.items()
    }
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(build)) for build in builds.values()]
        pair = PairedRun(workers[0], workers[1], search.runs, search.folder / name)
        pair.warm_up()
        for round_ in range(ROUNDS):
            with machine.watched(spans):
                pair.more(search.request.pairs if not pair.count else pair.count)
            outcome = outcomes.conclude(pair, [metric])
            found = paired.in_order(outcome.findings)
            moved = [f for f in found if f.verdict in {Verdict.REGRESSION, Verdict.IMPROVEMENT}]
            known = bool(moved) or all(f.verdict is Verdict.SAME for f in found)
            if known or round_ + 1 == ROUNDS:
                break
            say(f"{name}: {text.more_pairs(found[0], pair.seconds_for)}", err=True)
    folder = search.folder / name
    asked = folders.Asked(
        search.request.scenario,
        {side: commit.sha for side, commit in sides.items()},
        search.request.command,
        search.request.charts,
    )
    folders.write(folder, asked, builds, search.runs, pair, outcome, spans)
    if outcome.refused is not None or not known:
        more = f"{_ab(search, a, b)} --resume {shlex.quote(str(folder))} --pairs {pair.count}"
        say(f"{name}: {pair.count} pairs are kept; to add others: {more}", err=True)
    if outcome.refused is not None:
        raise outcome.refused
    if not found:
        raise BisectError(f"{metric} was measured in no case", "choose another metric, or --case")
    if not known:
        raise CapabilityError(
            text.more_pairs(found[0], pair.seconds_for), f"give more with --pairs; {pair.count} were run"
        )
    return _most_surely(moved or found)


def _ab(search: _Search, a: Commit, b: Commit) -> str:
    """Return the command that compares two commits in the cases that are searched, less its number of pairs."""
    request, cases = search.request, search.runs.cases
    words = ["punktfunk-lab", "ab", a.sha[:12], b.sha[:12], str(request.scenario), "--metric", request.metric]
    if len(cases) == 1:
        words += ["--case", cases[0].id]
    elif request.expression:
        words += ["-k", request.expression]
    words += ["--seed", str(request.seed)] if request.seed is not None else []
    words += ["--backend", str(request.backend)] if request.backend is not None else []
    return shlex.join(words)


def _most_surely(findings: list[Finding]) -> Finding:
    """Return the finding whose change is largest beside what its interval leaves open; a figure from 0 comes first."""

    def weight(f: Finding) -> float:
        width = f.interval[1] - f.interval[0]
        return math.inf if math.isnan(f.change) else abs(f.change) / (width + 1e-3)

    return max(findings, key=lambda f: (f.gates, f.verdict is Verdict.REGRESSION, weight(f)))


@contextmanager
def _bisection(repository: Repository, good: Commit, bad: Commit) -> Iterator[Repository]:
    """Give a bare copy of the history to bisect in: work tree and refs of the clone itself stay as they are."""
    with tempfile.TemporaryDirectory(prefix="punktfunk-lab-bisect-") as scratch:
        copy = Path(scratch) / "history.git"
        repository.git("clone", "--quiet", "--bare", "--shared", str(repository.path.resolve()), str(copy))
        history = Repository(copy)
        history.git("bisect", "start", "--no-checkout", bad.sha, good.sha)
        yield history


def _bisected(search: _Search, good: Commit, bad: Commit, whole: Finding) -> Commit:
    """Return the first bad commit; raise BisectError where only commits that cannot be judged are left."""
    with _bisection(search.repository, good, bad) as history, ExitStack() as stack:
        build = ab.built(revision(good.sha, search.repository), search.cache, good.sha[:12])
        reference = stack.enter_context(Worker(build))
        while not (said := _named(history, FOUND)):
            candidates = _named(history, POSSIBLE)
            if candidates:
                raise BisectError(
                    f"only commits that could not be judged are left: {', '.join(sha[:12] for sha in candidates)}",
                    "; ".join(search.skipped[:5]),
                )
            now = history.commit("BISECT_HEAD")
            if now is None:
                raise BisectError("git names no commit to try", "are both of one history, good before bad?")
            term = _judged(search, reference, now, whole)
            done = history.git("bisect", term, now.sha, check=False)
            if done.returncode and not _named(history, POSSIBLE):
                raise BisectError(
                    f"git bisect {term}: {' / '.join((done.stderr or done.stdout).split(chr(10))[:2])}"
                )
        found = search.repository.commit(said[0])
    if found is None:
        raise BisectError(f"git named {said[0][:40]}, which the repository does not have")
    return found


def _named(history: Repository, words: str) -> list[str]:
    log = history.git("bisect", "log").stdout.splitlines()
    return [line.removeprefix(words).partition("]")[0] for line in log if line.startswith(words)]


def _judged(search: _Search, reference: Worker, commit: Commit, whole: Finding) -> str:
    """Return what git is told of a commit: ``good``, ``bad`` or ``skip``."""
    metric = search.request.metric
    try:
        build = ab.built(revision(commit.sha, search.repository), search.cache, commit.sha[:12])
        with Worker(build) as worker:
            pair = PairedRun(reference, worker, search.runs, search.folder / commit.sha[:12])
            pair.warm_up()
            side = None
            for _ in range(ROUNDS):
                pair.more(pair.count or whole.pairs)
                figures = _believed(pair.pairs[whole.case], metric)
                side = paired.side_of(whole, figures)
                if side is not None:
                    break
    except BusyMachineError:
        raise
    except PunktfunkError as error:
        search.skipped.append(f"{commit.sha[:12]}: {error.cause.splitlines()[0]}")
        say(f"skip  {commit.short}: {error.cause}")
        return "skip"
    if side is None:
        search.skipped.append(f"{commit.sha[:12]}: {pair.count} pairs cannot tell on which side it is")
        say(f"skip  {commit.short}: {pair.count} pairs cannot tell on which side it is")
        return "skip"
    search.measured += 1
    base, head = (sum(row[n] for row in figures) / len(figures) for n in (0, 1))
    both = f"{number(head, whole.unit)} beside {number(base, whole.unit)} of good"
    say(f"{'bad ' if side else 'good'}  {commit.short}: {both}")
    return "bad" if side else "good"


def _believed(both: paired.Pairs, metric: str) -> list[tuple[float, float]]:
    """Return the values of the metric, pair by pair.

    Raises BusyMachineError where the machine was busy for most of the pairs, BuildError where most have no value.
    """
    believed = paired.believed(both, metric)
    if 2 * len(believed) < len(both):
        busiest = machine.words(machine.busy_pairs(both)[0])
        raise BusyMachineError(f"no latency is worth believing: {busiest}", machine.HINT)
    figures = paired.table(believed, metric)
    if 2 * len(figures) < len(believed):
        reason = next((b.reason for _, b in believed if b.reason), "it is not measured")
        raise BuildError(f"it has no {metric} ({reason})")
    return figures


def _moved(finding: Finding, before: str, after: str) -> str:
    how = "exact" if finding.exact else f"p {finding.p_value:.1g}"
    return (
        f"{finding.metric} of {finding.case}: {number(finding.base, finding.unit)} {before}, "
        f"{number(finding.head, finding.unit)} {after}: {text.change(finding)}, {how}, {finding.pairs} pairs"
    )


def _conclude(search: _Search, first: Commit, good: Commit) -> int:
    """Compare the commit with the one before it, print both figures and the command that does the same again."""
    request = search.request
    parent = search.repository.parent(first.sha) or good
    say("")
    say(f"{first.sha} is the first bad commit")
    say(f"  {first.subject}")
    say(f"  {first.author}, {first.date}")
    pairs = request.pairs
    try:
        alone = _compared(search, parent, first, _VERDICT)
        pairs = alone.pairs
        if alone.verdict is Verdict.SAME:
            say(
                f"note: from the commit before it nothing moved ({text.change(alone)}): others may share the change"
            )
        say(f"  {_moved(alone, 'before', 'after')}")
        say(f"  page: {search.folder / _VERDICT / PAGE}")
    except (BuildError, BisectError) as error:
        say(f"  not compared with the commit before it: {error.cause.splitlines()[0]}")
    say(f"  {search.measured} commits were measured, {len(search.skipped)} skipped")
    say(f"  again: {_ab(search, parent, first)} --pairs {pairs}")
    return 0
