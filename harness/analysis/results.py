"""What a run found: typed, versioned, readable for ever (promise P20).

Version 1 knew one protocol and did not write it down; version 2 says of every case which wire it ran over and which
programs stood at its ends. A file of version 1 becomes one of version 2 when it is read.

A run is a folder: ``run.json`` (a :class:`RunResult`), one folder a case with ``case.json``
(a :class:`CaseResult`), ``frames.parquet`` (the frame records) and logs. ``case.json`` is written the moment
a case ends, so an interrupted run keeps what it has and ``--resume`` goes on from there.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.printable import printable

MAX_RESULT_BYTES = 512 << 20
"""Of a result or baseline file: 20,000 cases, the most of a run, of 25 KiB."""
SCHEMA_VERSION: Final = 2
"""Version of every result file. Readers accept this and every older one."""
NOT_JUDGED: Final = "not judged by capture"
"""Begins a part of a check's detail: of a case's capture, what could not be judged because something of the judging,
and nothing of what is judged, was not as it should be."""
PROTOCOL_OF_VERSION_1: Final = "punktfunk/1"


class Status(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"  # this machine cannot run it: says why, is neither pass nor failure
    FAULT = "fault"  # the harness or the link is at fault: nothing is said about the system
    INTERRUPTED = "interrupted"


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="null")


class Metric(_Model):
    """One figure. ``value`` is None when it could not be measured: absent, never 0."""

    value: float | None
    unit: str
    better: Literal["lower", "higher", "none"] = "none"
    interval: tuple[float, float] | None = None
    """Confidence interval (95 % unless the name says otherwise), same unit."""
    n: int | None = None
    """Samples behind the figure."""


class Check(_Model):
    """One expectation and what was found."""

    name: str
    passed: bool
    expected: str
    measured: str
    detail: str = ""


class Ledger(_Model):
    """Counts of the loss ledger of one direction, and the balances that must be zero."""

    counts: dict[str, int] = Field(default_factory=dict)
    balances: dict[str, int] = Field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every balance is zero."""
        return not any(self.balances.values())


class PeerResult(_Model):
    """What stood at one end of the stream."""

    program: str
    ports: list[int] = Field(default_factory=list)
    """UDP ports of its media; empty where the kernel chose."""


class Thief(_Model):
    """Who took CPU time from a measurement."""

    name: str
    """A program, with what it runs where it is an interpreter; printable."""
    pids: list[int] = Field(default_factory=list)
    """Those that still ran at the end."""
    cpu_s: float
    yields: bool = False
    """Whether it yields the CPU to us at once: idle priority."""


class Quietness(_Model):
    """Whether the machine was quiet over a span (``harness.machine.watch``). Shares are 0 to 1; None: not known."""

    quiet: bool
    """Whether figures of time over this span are worth believing."""
    reasons: list[str] = Field(default_factory=list)
    """Why not, a sentence each."""
    remark: str = ""
    """What to know of a quiet machine: that the session itself filled it."""
    seconds: float
    cpus: int
    others: float
    """Share of all CPUs that processes outside of our own tree took, steal included."""
    others_worst: float
    """The same in the worst half second."""
    yielding: float = 0.0
    """The part of ``others`` that yields the CPU to us at once: idle priority. 0 in files of before it was told."""
    own: float
    """Share that our own tree took."""
    steal: float | None = None
    """Share that a hypervisor gave to others."""
    pressure: float | None = None
    """Share of the time in which some task of the machine waited for a CPU (PSI)."""
    cgroup_pressure: float | None = None
    """The same within our own cgroup."""
    throttled: float | None = None
    """Share of CPU time that our cgroup's quota withheld."""
    run_delay: float | None = None
    """Share of its time that the thread waited for a CPU which waited most, of those that stamp."""
    run_delay_thread: str = ""
    timers: int = 0
    """Timers that were set while watching."""
    timers_late: float | None = None
    """Share of them that were late by more than 5 ms."""
    timer_p99_ms: float | None = None
    timer_max_ms: float | None = None
    thieves: list[Thief] = Field(default_factory=list)
    """Who used most CPU time outside of our own tree, the greediest first and those that yield to us last."""


class CaseResult(_Model):
    """What one case (one point of the matrix, one repeat) found."""

    schema_version: Literal[2] = SCHEMA_VERSION
    id: str
    """Stable, filesystem-safe: ``loss=2,fec=20,repeat=0`` style slug; the name of the case's folder."""
    scenario: str
    params: dict[str, Any] = Field(default_factory=dict)
    """The matrix values of this case."""
    repeat: int = 0
    seed: int
    protocol: str
    """The wire that host and client spoke; a file may name one that this version does not know."""
    peers: dict[Literal["host", "client"], PeerResult] = Field(default_factory=dict)
    """Who they were; empty where none was started, and in what was read from a file of version 1."""
    backend: str
    status: Status
    reason: str = ""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    checks: list[Check] = Field(default_factory=list)
    ledgers: dict[str, Ledger] = Field(default_factory=dict)
    """By direction: ``host_to_client`` (always, once packets flowed), ``client_to_host``."""
    theory: dict[str, float] = Field(default_factory=dict)
    series: dict[str, list[float | None]] = Field(default_factory=dict)
    """Small time series for the report: ``t_s`` plus equally long columns (``harness.analysis.metrics.timeline``)."""
    quantiles: dict[str, list[float]] = Field(default_factory=dict)
    """Latency distributions in ms at ``harness.analysis.definitions.QUANTILES``, by span."""
    digest: str = ""
    """SHA-256 over the deterministic part; equal for equal seed and scenario in ``sim``."""
    link: dict[str, Any] = Field(default_factory=dict)
    """The link as asked for and as the probe found it."""
    machine: Quietness | None = None
    """Whether the machine was quiet while the session ran; None in virtual time and in older files."""
    outside: dict[str, Any] = Field(default_factory=dict)
    """What was seen of described programs from outside, and by what they were judged."""
    folder: str = ""
    replay: str = ""
    duration_s: float = 0.0


class LayerCounts(_Model):
    """How the cases of one layer ended, in a run that keeps a row for each."""

    layer: str
    backend: str
    protocol: str
    statuses: dict[Status, int] = Field(default_factory=dict)
    frames: int = 0

    @property
    def cases(self) -> int:
        """Cases of it that have ended."""
        return sum(self.statuses.values())


class CaseTable(_Model):
    """The cases of a run that are too many for a folder each: rows of a table beside ``run.json``."""

    file: str
    """Parquet, with the columns of ``harness.analysis.case_table``."""
    asked: int
    """Cases that the run was asked for."""
    layers: list[LayerCounts] = Field(default_factory=list)
    checks: int = 0
    held: int = 0

    @property
    def statuses(self) -> dict[Status, int]:
        """How many cases ended in each way."""
        return {
            status: count
            for status in Status
            if (count := sum(layer.statuses.get(status, 0) for layer in self.layers))
        }


class RunResult(_Model):
    """A whole run."""

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    scenario: str
    started: str
    """ISO 8601, UTC."""
    duration_s: float = 0.0
    command: str = ""
    environment: dict[str, Any] = Field(default_factory=dict)
    """Machine class, kernel, versions, git revision; see ``harness.run.environment``."""
    cases: list[CaseResult] = Field(default_factory=list)
    """Every case; where ``table`` has them, the first of those that did not pass."""
    table: CaseTable | None = None
    """Where the cases are when there are very many; None where ``cases`` has all of them."""
    checks: list[Check] = Field(default_factory=list)
    """Expectations over the whole sweep (agreement with theory, determinism)."""
    verdict: Status = Status.PASSED
    notes: list[str] = Field(default_factory=list)
    """What did not run and why; printed and shown in the report."""


_Result = TypeVar("_Result", CaseResult, RunResult)


def run_from_json(text: bytes, file: Path) -> RunResult:
    """Return the run that a file holds.

    Raises :class:`ResultsError` where it holds none, and its :class:`LaterVersionError` for a later version.
    """
    return _parse(RunResult, text, file, "the result of a run")


def case_from_json(text: bytes, file: Path) -> CaseResult:
    """Return the case that a file holds; raises likewise."""
    return _parse(CaseResult, text, file, "the result of a case")


def _parse(model: type[_Result], text: bytes, file: Path, what: str) -> _Result:
    try:
        document = from_json(text)
        if isinstance(document, dict):
            _upgrade(document, file)
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ResultsError(f"{file} is not {what}: {where + ': ' if where else ''}{first['msg']}") from error
    except ValueError as error:
        raise ResultsError(f"{file} is not {what}: {error}") from error


def _upgrade(document: dict[str, Any], file: Path) -> None:
    """Bring a document of an older version, and the cases in it, to this one."""
    version = document.get("schema_version", 1)
    cases = document.get("cases")
    for case in cases if isinstance(cases, list) else ():
        if isinstance(case, dict):
            _upgrade(case, file)
    if type(version) is not int:
        return  # the model says that it is no version
    if version == 1:
        document |= {"schema_version": SCHEMA_VERSION, "protocol": PROTOCOL_OF_VERSION_1, "peers": {}}
    elif version > SCHEMA_VERSION:
        raise LaterVersionError(
            f"{file} has schema version {printable(str(version), 20)}; this version of the harness reads 1 to "
            f"{SCHEMA_VERSION}",
            "read it with the version that wrote it or a later one, or run the scenario again",
        )


def group_of(case: CaseResult) -> str:
    """Return the part of a case's id that names its scenario and layer."""
    return group_of_name(case.id)


def group_of_name(name: str) -> str:
    """Return the same of a case's id alone."""
    before, equals, _ = name.partition("=")
    return before.rpartition(".")[0] if equals else before
