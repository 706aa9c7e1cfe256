"""What a run as a whole says: agreement with theory, digests, a verdict, an exit code."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from harness.analysis import agreement, compare
from harness.analysis.results import NOT_JUDGED, CaseResult, Check, RunResult, Status, group_of
from harness.machine.watch import rivals
from harness.report.text import disbelief, is_disbelieved
from harness.run import INTERRUPTED_EXIT
from harness.scenario.link import Backend
from punktfunk.errors import CapabilityError, CheckFailedError, HarnessError, RegressionError


def conclude(
    run: RunResult,
    *,
    interrupted: bool = False,
    strict: bool = False,
    optional: Collection[str] = (),
    families: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Add the checks over the whole run, its notes and its verdict.

    With ``strict`` a case that this machine cannot run fails the run, unless its id is ``optional``.
    """
    run.checks += agreement_checks(run.cases, families)
    for members in _groups(run.cases).values():
        run.checks += compare.interleaved_checks(members)
    run.notes += _digests(run.cases)
    run.notes += _not_run(run.cases)
    run.notes += _disbelieved(run.cases)
    run.notes += _not_judged(run.cases)
    run.verdict = _verdict(run, interrupted=interrupted, needed=strict, optional=optional)


def agreement_checks(
    cases: Sequence[CaseResult], families: Mapping[str, int] = MappingProxyType({})
) -> list[Check]:
    """Compare each scenario's layer with theory as a whole, so that more cells make no false alarm likelier.

    ``families`` has the cells of a layer from which these were chosen for what they showed, as a report names its
    worst.
    """
    checks = []
    for name, members in _groups(cases).items():
        check = agreement.sweep_check(members, family=families.get(name, 0))
        if check is not None:
            replays = [
                f"replay: {case.replay}"
                for case in members
                if not check.passed and f"{case.id}:" in check.detail
            ]
            detail = "\n".join([*check.detail.split("; "), *replays[:3]])
            checks.append(check.model_copy(update={"name": f"{name}: {check.name}", "detail": detail}))
    return checks


def _groups(cases: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    groups: dict[str, list[CaseResult]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(case)
    return groups


def _digests(cases: Sequence[CaseResult]) -> list[str]:
    """Return the digest of all simulated cases, of each protocol and of each layer where there are several.

    A layer that is added changes the first one; the others say whether what was there has changed too.
    """
    digest = sweep_digest(cases)
    if not digest:
        return []
    by_wire: dict[str, list[CaseResult]] = defaultdict(list)
    for case in cases:
        by_wire[case.protocol].append(case)
    return [
        f"digest of the simulated cases: {digest}",
        *_several({f"the simulated cases over {name}": members for name, members in by_wire.items()}),
        *_several(_groups(cases)),
    ]


def _several(groups: Mapping[str, Sequence[CaseResult]]) -> list[str]:
    """Return the digest of each group that was simulated; none where it is one alone."""
    found = [
        f"digest of {name}: {digest}" for name, members in groups.items() if (digest := sweep_digest(members))
    ]
    return found if len(found) > 1 else []


def sweep_digest(cases: Iterable[CaseResult]) -> str:
    """Return one digest over the deterministic part of all simulated cases; "" when there are none."""
    lines = sorted(
        f"{case.id} {case.digest}" for case in cases if case.digest and case.backend == Backend.SIM
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def exit_code(run: RunResult, *, interrupted: bool = False) -> int:
    """Return the exit code that tells the verdict to a shell (design: 0, 1, 3, 4, 5, 130)."""
    if interrupted:
        return INTERRUPTED_EXIT
    if run.verdict is Status.FAILED and compare.only_regressed(run):
        return RegressionError.exit_code
    return {
        Status.PASSED: 0,
        Status.FAILED: CheckFailedError.exit_code,
        Status.UNSUPPORTED: CapabilityError.exit_code,
        Status.FAULT: HarnessError.exit_code,
        Status.INTERRUPTED: INTERRUPTED_EXIT,
    }[run.verdict]


def _verdict(run: RunResult, *, interrupted: bool, needed: bool, optional: Collection[str]) -> Status:
    states = {case.status for case in run.cases}
    unsupported = [case.id for case in run.cases if case.status is Status.UNSUPPORTED]
    # What --require-quiet refused was asked for and is not there, also where cases may be left out.
    refused = any(case.status is Status.UNSUPPORTED and disbelief(case) for case in run.cases)
    missed = refused or (needed and any(name not in optional for name in unsupported))
    return of(
        states,
        checks_hold=all(check.passed for check in run.checks),
        interrupted=interrupted,
        missed=bool(unsupported) and (missed or len(unsupported) == len(run.cases)),
    )


def of(states: Collection[Status], *, checks_hold: bool, interrupted: bool, missed: bool) -> Status:
    """Return how a run ended: ``states`` are those of its cases, ``missed`` says that too little of it could run."""
    if Status.FAULT in states:
        return Status.FAULT
    if Status.FAILED in states or not checks_hold:
        return Status.FAILED
    if interrupted:
        return Status.INTERRUPTED
    return Status.UNSUPPORTED if missed else Status.PASSED


def _not_run(cases: Iterable[CaseResult]) -> list[str]:
    """Return what did not run and why, once for all cases that share a reason."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in cases:
        if case.status is Status.UNSUPPORTED:
            reasons[case.backend, case.reason].append(case.id)
    return [
        f"{len(ids)} case{'s' * (len(ids) != 1)} did not run on {backend}: {reason} ({_few(ids)})"
        for (backend, reason), ids in reasons.items()
    ]


def _disbelieved(cases: Sequence[CaseResult]) -> list[str]:
    """Return that figures were taken on a busy machine, once for all cases, with what the worst of them says."""
    live = [case for case in cases if case.machine is not None]
    busy = [case for case in live if is_disbelieved(case)]
    if not busy:
        return []
    worst = max(busy, key=lambda case: rivals(case.machine) if case.machine else 0.0)
    count = "" if len(live) == 1 else f"{len(busy)} of {len(live)} live cases; the worst, {worst.id}: "
    return [f"figures of time {disbelief(worst).replace(': ', f': {count}', 1)}"]


def _not_judged(cases: Iterable[CaseResult]) -> list[str]:
    """Return what was not judged by a capture and why, once for all cases that share a reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        for check in case.checks:
            for said in check.detail.split("; "):
                if said.startswith(NOT_JUDGED):
                    reasons[said].append(case.id)
    return [
        f"{reason} ({len(ids)} case{'s' * (len(ids) != 1)}: {_few(ids)})" for reason, ids in reasons.items()
    ]


def _few(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} … {ids[-1]}"
