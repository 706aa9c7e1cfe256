"""Run one case on the link that it asks for, and judge what it found."""

from __future__ import annotations

import contextlib
import shlex
import time
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.results import CaseResult, Check, Status
from harness.report.text import disbelief, is_disbelieved
from harness.run.context import RunContext
from harness.scenario import expectations
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from harness.scenario.model import Stream
from harness.scenario.protocols import DEFAULT
from punktfunk.errors import (
    CapabilityError,
    CheckFailedError,
    LinkUnverifiedError,
    PunktfunkError,
    ResultsError,
)
from punktfunk.native.control import ip_packet_bytes

if TYPE_CHECKING:
    from harness.link.base import Capability


LIVE = (Backend.TUN, Backend.NETEM)
"""Links between namespaces, best first: tun decides packet by packet from the seed, netem is the kernel's."""


def resolve_backend(case: Case, context: RunContext) -> Backend:
    """Return the back end that a case will run on; ``auto`` becomes the best that this machine has.

    That is tun, then netem, then sim where it can carry the case. Raises CapabilityError when none can.
    """
    asked = context.backend or case.spec.link.backend
    if asked is not Backend.AUTO:
        return asked
    reasons = []
    for backend in LIVE:
        found = capability(backend)
        if found.ok:
            return backend
        reasons.append(f"{backend}: {found.reason}")
    obstacle = case.spec.sim_obstacle()
    if obstacle is None:
        return Backend.SIM
    reasons.append(f"sim: {obstacle[1]}")
    raise CapabilityError("no link can carry this case here", "; ".join(reasons))


@cache
def capability(backend: Backend) -> Capability:
    """Return whether this machine has a live link, and if not, why and what would fix it."""
    if backend is Backend.TUN:
        from harness.link.tun import capability as probe
    else:
        from harness.link.netem import capability as probe
    return probe()


def run_case(case: Case, folder: Path, context: RunContext) -> CaseResult:
    """Run a case and judge it. Never raises for what the case or the machine did: the status says it.

    ``folder`` exists and takes the artefacts; ResultsError says that it does not take them, which ends a run.
    KeyboardInterrupt passes through.
    """
    started = time.monotonic()
    backend = context.backend or case.spec.link.backend
    try:
        backend = resolve_backend(case, context)
        _check_carries(backend, case)
        result = _run_on(backend, case, folder, context)
    except CapabilityError as error:
        result = failed_result(case, backend, Status.UNSUPPORTED, _one_line(error))
    except CheckFailedError as error:
        result = failed_result(case, backend, Status.FAILED, _one_line(error))
    except LinkUnverifiedError as error:
        result = failed_result(case, backend, Status.FAULT, f"link not verified: {_one_line(error)}")
    except ResultsError:
        raise
    except PunktfunkError as error:
        _keep_traceback(folder)
        result = failed_result(case, backend, Status.FAULT, _one_line(error))
    except Exception as error:  # noqa: BLE001 - a defect of the harness is a fault of this case, not the end of the run
        _keep_traceback(folder)
        where = "error.txt in its folder has the traceback"
        result = failed_result(case, backend, Status.FAULT, f"{type(error).__name__}: {error} ({where})")
    result.duration_s = time.monotonic() - started
    result = judge(case, result, folder)
    return refused(case, result) if context.require_quiet and is_disbelieved(result) else result


def row_of(case: Case, context: RunContext) -> CaseResult:
    """Simulate a case of a run that keeps a row for each, and judge it. Never raises for what the case did."""
    from harness.run import sim

    started = time.monotonic()
    try:
        _check_carries(Backend.SIM, case)
        result = sim.row(case)
    except CapabilityError as error:
        result = failed_result(case, Backend.SIM, Status.UNSUPPORTED, _one_line(error))
    except PunktfunkError as error:
        result = failed_result(case, Backend.SIM, Status.FAULT, _one_line(error))
    except Exception as error:  # noqa: BLE001 - as in run_case; the command that replays the case keeps a traceback
        result = failed_result(case, Backend.SIM, Status.FAULT, f"{type(error).__name__}: {error}")
    result.duration_s = time.monotonic() - started
    return judge(case, result, Path())


def judge(case: Case, result: CaseResult, folder: Path) -> CaseResult:
    """Add the checks that every back end shares: the scenario's expectations and the balance of the ledgers."""
    result.folder = folder.name
    result.replay = replay_command(case, result.backend)
    if result.status not in {Status.PASSED, Status.FAILED}:
        return result
    result.checks += [expectations.check(expected, result.metrics) for expected in case.spec.expect]
    for direction, ledger in result.ledgers.items():
        odd = {name: count for name, count in ledger.balances.items() if count}
        if odd:
            result.status = Status.FAULT
            what = ", ".join(f"{name} is off by {count:+d}" for name, count in odd.items())
            result.reason = f"the ledger of {direction} does not balance: {what}"
            result.checks.append(
                Check(name=f"ledger {direction} balances", passed=False, expected="all 0", measured=what)
            )
    if result.status is Status.PASSED and not all(check.passed for check in result.checks):
        result.status = Status.FAILED
        result.reason = "; ".join(
            f"{check.name}: measured {check.measured}" for check in result.checks if not check.passed
        )
    return result


def refused(case: Case, result: CaseResult) -> CaseResult:
    """Return the result of a case that is not worth believing: what it found is left out, why is not."""
    found = failed_result(
        case, Backend(result.backend), Status.UNSUPPORTED, f"{disbelief(result)} (--require-quiet)"
    )
    kept = {name: getattr(result, name) for name in ("machine", "link", "peers", "duration_s", "folder")}
    return found.model_copy(update=kept)


def failed_result(case: Case, backend: Backend, status: Status, reason: str) -> CaseResult:
    """Return the result of a case that measured nothing."""
    return CaseResult(
        id=case.id,
        scenario=case.scenario,
        params=case.params,
        repeat=case.repeat,
        seed=case.seed,
        protocol=case.spec.protocol,
        backend=str(backend),
        status=status,
        reason=reason,
        replay=replay_command(case, str(backend)),
        folder=case.id,
    )


def replay_command(case: Case, backend: str, seed: int | None = None) -> str:
    """Return the one command that runs this case again, on the same link with the same seed."""
    words = ["python", "-m", "harness", "run", case.file, "--case", case.id]
    if case.params and case.spec.theory:
        # Whoever copies it has looked: the farthest of 100,000 cells is as far from theory as it is by chance.
        words.append("--post-hoc")
    for name, values in case.axes:
        words += ["--axis", f"{name}={','.join(values)}"]
    if case.run_seed is not None:
        words += ["--seed", str(case.run_seed)]
    if backend not in {"", case.spec.link.backend}:
        words += ["--backend", backend]
    return shlex.join(words)


def _check_carries(backend: Backend, case: Case) -> None:
    """Refuse a back end, given on the command line, that would run something else than the scenario says."""
    spec = case.spec
    obstacle = spec.sim_obstacle() if backend is Backend.SIM else None
    if obstacle is not None:
        raise CapabilityError(obstacle[1])
    if backend is not Backend.SIM and (spec.seeds > 1 or spec.stream.sabotage):
        raise CapabilityError(
            "a real link has no seeds to pool and no codec to sabotage", "use --backend sim"
        )
    if backend is not Backend.SIM and spec.protocol == DEFAULT and "host" not in spec.foreign:
        _check_fits(spec.stream)


def _check_fits(stream: Stream) -> None:
    """Refuse shards of which a socket would refuse each packet: a stream of which nothing comes shows no loss."""
    from harness.network.topology import MTU_BYTES  # pyroute2 is behind it, which every live run loads

    shard = stream.shard.bytes
    packet = ip_packet_bytes(shard, sealed=stream.encryption, ip_version=4)
    if packet > MTU_BYTES:
        raise CapabilityError(
            f"shards of {shard} B make packets of {packet} bytes, and a real link carries {MTU_BYTES}",
            f"ask for {MTU_BYTES - (packet - shard)} B or less, or use --backend sim",
        )


def _run_on(backend: Backend, case: Case, folder: Path, context: RunContext) -> CaseResult:
    """Import a back end when it is wanted: sim needs no root and no network modules."""
    if backend is Backend.SIM:
        from harness.run import sim

        return sim.run(case, folder, context)
    found = capability(backend)
    if not found.ok:
        raise CapabilityError(found.reason, found.fix)
    from harness.network import userns
    from harness.run import live, rootless

    run = rootless.run if userns.needed() else live.run
    return run(case, folder, context, backend)


def _one_line(error: PunktfunkError) -> str:
    return f"{error.cause} [{error.code}]" + (f" ({error.hint})" if error.hint else "")


def _keep_traceback(folder: Path) -> None:
    # The folder's own trouble is reported when results are written.
    with contextlib.suppress(OSError):
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
