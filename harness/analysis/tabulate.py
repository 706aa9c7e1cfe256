"""A run as the tables of ``harness.analysis.tables``: what a result file says, row by row, in Arrow.

Texts become printable here, for a table is shown wherever its reader likes; numbers that are none are absent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis import records, stages
from harness.analysis.definitions import STRIP
from harness.analysis.records import NULL, Records
from harness.analysis.results import CaseResult, RunResult, group_of
from harness.analysis.tables import CLIENT_STATUS, HOST_STATUS, STAGE_SUFFIX, TABLES, arrow_table
from punktfunk.errors import ResultsError, UnitError
from punktfunk.printable import printable
from punktfunk.units import Bitrate, DataSize, Duration, Probability

if TYPE_CHECKING:
    import pyarrow as pa

_DIRECTIONS: Final = {"down": "host_to_client", "up": "client_to_host"}
_MAX_PARAMS: Final = 2000
"""Characters of a case's axes as JSON."""


def tabulate(run: RunResult, table: str) -> pa.Table:
    """Return one of the tables ``cases``, ``figures``, ``links`` and ``ledger`` of a run.

    Raises :class:`ResultsError` for numbers that no table holds.
    """
    import pyarrow as pa

    names = TABLES[table].names
    rows: dict[str, list[Any]] = {name: [] for name in names}
    about = about_run(run)
    for case in run.cases:
        keys = {"run": about["run"], "case": printable(case.id)}
        for found in _ROWS[table](case, about):
            row = found | keys
            for name in names:
                rows[name].append(row.get(name))
    try:
        return arrow_table(table, rows)
    except (pa.ArrowException, OverflowError) as error:
        raise ResultsError(f"run {run.run_id} holds what no table of {table} can: {error}") from error


def about_run(run: RunResult) -> dict[str, Any]:
    """Return the columns of ``cases`` that are the same for all cases of a run."""
    environment = run.environment
    return {
        "run": printable(run.run_id),
        "started": _time(run.started),
        **{name: _text(environment.get(name)) for name in ("git", "machine_class", "kernel")},
    }


def _case(case: CaseResult, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    theory = {
        f"theory_{name}": _number(case.theory.get(name))
        for name in ("recovery", "recovery_low", "recovery_high", "p_value")
    }
    programs = {role: printable(peer.program) for role, peer in case.peers.items()}
    yield {
        **about,
        "scenario": printable(case.scenario),
        "layer": printable(group_of(case)),
        "repeat": case.repeat,
        "seed": case.seed,
        "protocol": printable(case.protocol),
        "host": programs.get("host"),
        "client": programs.get("client"),
        "backend": printable(case.backend),
        "status": case.status.value,
        "reason": printable(case.reason),
        "duration": case.duration_s,
        "digest": printable(case.digest) or None,
        "checks": len(case.checks),
        "checks_failed": sum(not check.passed for check in case.checks),
        "quiet": None if case.machine is None else case.machine.quiet,
        "others": None if case.machine is None else _number(case.machine.others),
        "params": _params(case),
        **theory,
    }


def _params(case: CaseResult) -> str:
    """Return the values of a case's axes as JSON that stays within its bounds and is all ASCII."""
    text = json.dumps(case.params, default=str)
    return text if len(text) <= _MAX_PARAMS else "{}"


def _figures(case: CaseResult, _about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, metric in case.metrics.items():
        if metric.value is not None:
            low, high = metric.interval or (None, None)
            yield {
                "metric": printable(name),
                "value": metric.value,
                "unit": printable(metric.unit),
                "better": metric.better,
                "low": low,
                "high": high,
                "samples": metric.n,
            }


def _ledger(case: CaseResult, _about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for direction, ledger in case.ledgers.items():
        for kind, found in (("count", ledger.counts), ("balance", ledger.balances)):
            for name, value in found.items():
                yield {
                    "direction": printable(direction),
                    "kind": kind,
                    "name": printable(name),
                    "value": value,
                }


# --- links --------------------------------------------------------------------------------------------------


def _links(case: CaseResult, _about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    asked = _mapping(case.link.get("asked"))
    if not asked:
        return
    verified = case.link.get("verified")
    late = _mapping(case.link.get("lateness_ns"))
    realtime = case.link.get("realtime")
    for short, direction in _DIRECTIONS.items():
        findings = _mapping(verified).get(short)
        proven = len(findings) if isinstance(findings, list) else None
        yield {
            "direction": direction,
            **_asked(_mapping(asked.get(short))),
            "verified": "counters" if isinstance(verified, str) else "probe" if proven else None,
            "probe_findings": proven,
            "late_p99": _scaled(late.get("p99"), 1e-6),
            "late_max": _scaled(late.get("max"), 1e-6),
            "realtime": realtime if isinstance(realtime, bool) else None,
        }


def _asked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a direction's columns from either form that results keep: the scenario's own, or the core's."""
    loss = _mapping(spec.get("loss"))
    jitter = spec.get("jitter")
    reorder, corrupt = spec.get("reorder"), spec.get("corrupt")
    return {
        "rate": _number(spec.get("rate_kbps")) or _quantity(Bitrate, spec.get("rate"), "kbps"),
        "delay": _ms(spec, "delay"),
        "jitter": _ms(jitter, "spread") if isinstance(jitter, dict) else _ms(spec, "jitter"),
        **_loss(loss),
        "reorder": _share(_mapping(reorder).get("p", _mapping(reorder).get("rate", 0.0))),
        "duplicate": _share(spec.get("duplicate", 0.0)),
        "corrupt": _share(
            _mapping(corrupt).get("rate", 0.0) if isinstance(corrupt, dict) else corrupt or 0.0
        ),
        "queue_packets": _whole(spec.get("queue_packets")),
        "queue_bytes": _whole(spec.get("queue_bytes"))
        or _whole(_quantity(DataSize, spec.get("queue_bytes"), "bytes")),
        "trace": bool(spec.get("trace")),
    }


def _loss(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind, long-run share and mean burst of a loss process (see ``scenario.link.Loss``)."""
    kind = loss.get("kind", "none")
    share: float | None = 0.0
    burst: float | None = 1.0
    match kind:
        case "independent":
            share = _share(loss.get("p", loss.get("rate")))
        case "bursty":
            share, burst = _share(loss.get("rate")), _number(loss.get("burst"))
        case "periodic":
            every = _number(loss.get("every"))
            share = 1 / every if every else None
        case "gilbert_elliott":
            p, r = (_share(loss.get(a, loss.get(b))) for a, b in (("p", "good_to_bad"), ("r", "bad_to_good")))
            bad = _share(loss.get("bad", loss.get("loss_in_bad", 1.0)))
            good = _share(loss.get("good", loss.get("loss_in_good", 0.0)))
            if p is None or not r or bad is None or good is None:
                share = burst = None
            else:
                share, burst = (p * bad + r * good) / (p + r), 1 / r
        case _ if kind != "none":
            share = burst = None
    return {"loss_kind": printable(str(kind)), "loss": share, "burst": burst}


def _ms(spec: Mapping[str, Any], name: str) -> float | None:
    micro = spec.get(f"{name}_us")
    if micro is not None:
        return _scaled(micro, 1e-3)
    return _quantity(Duration, spec[name], "ms") if spec.get(name) is not None else 0.0


def _share(value: object) -> float | None:
    return _quantity(Probability, value, "value")


def _quantity(
    kind: type[Bitrate | DataSize | Duration | Probability], value: object, part: str
) -> float | None:
    """Return a quantity as a scenario writes it in the unit of one of its attributes; None for what is none."""
    if not isinstance(value, str | int | float):
        return None
    try:
        return _number(getattr(kind.parse(value), part))
    except (UnitError, ValueError, OverflowError):
        return None


# --- frames -------------------------------------------------------------------------------------------------


def frames(found: Records, run: str, case: str) -> pa.Table:
    """Return the table ``frames`` of a case's records. Raises :class:`ResultsError` for a status that is none."""
    import pyarrow as pa

    columns: dict[str, Any] = {"frame": found["index"]}
    absent: dict[str, Any] = {"frame": None}
    for name in records.COLUMNS[1:]:
        column = found[name]
        absent[name] = np.isnan(column) if column.dtype == np.float64 else column == NULL
        columns[name] = column
    arrays = {name: pa.array(column, mask=absent[name]) for name, column in columns.items()}
    for name, words in (("host_status", HOST_STATUS), ("client_status", CLIENT_STATUS)):
        arrays[name] = _named(found[name], words, name)
    arrays["decodable"] = pa.array(columns["decodable"] != 0, mask=absent["decodable"])
    return _of_frames("frames", arrays, run, case)


def stage_lengths(found: Records, run: str, case: str) -> pa.Table:
    """Return the table ``stages`` of a case's records."""
    return _of_frames("stages", _lengths(found), run, case)


def stages_of(frames: pa.Table) -> pa.Table:
    """Return the table ``stages`` of a table ``frames`` that has run, case, frame and any stamps."""
    import pyarrow as pa

    found = records.empty(frames.num_rows)
    for name in (*records.STAMPS, "strip_time_us"):
        if name in frames.column_names:
            found[name] = frames.column(name).fill_null(NULL).to_numpy()
    arrays = _lengths(found) | {name: frames.column(name) for name in ("run", "case", "frame")}
    schema = TABLES["stages"].schema()
    return pa.table([arrays[field.name] for field in schema], schema=schema)


def _lengths(found: Records) -> dict[str, pa.Array]:
    import pyarrow as pa

    lengths = {span.name: stages.lengths_ms(found, span) for span in stages.SPANS}
    lengths[STRIP] = stages.marker_lengths_ms(found)
    arrays = {
        name + STAGE_SUFFIX: pa.array(values, mask=np.isnan(values)) for name, values in lengths.items()
    }
    return {"frame": pa.array(found["index"])} | arrays


def _of_frames(table: str, arrays: Mapping[str, Any], run: str, case: str) -> pa.Table:
    import pyarrow as pa

    schema = TABLES[table].schema()
    rows = len(arrays["frame"])
    keys = {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([value]))
        for name, value in (("run", run), ("case", case))
    }
    return pa.table([keys.get(field.name, arrays.get(field.name)) for field in schema], schema=schema)


def _named(column: np.ndarray[Any, Any], words: tuple[str, ...], what: str) -> pa.Array:
    import pyarrow as pa

    if column.size and not NULL <= column.min() <= column.max() < len(words):
        raise ResultsError(f"frame records hold a {what} that this version does not know")
    indices = pa.array(column.astype(np.int32), mask=column == NULL)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words))


def stamps_of(columns: Collection[str]) -> set[str]:
    """Return the columns of frame records that these columns of ``stages`` are made of."""
    stamps = {"strip_time_us", "decode_end_ns"} if STRIP + STAGE_SUFFIX in columns else set()
    for name in columns:
        span = stages.BY_NAME.get(name.removesuffix(STAGE_SUFFIX))
        stamps |= {span.begin, span.end} if span else set()
    return stamps


# --- values -------------------------------------------------------------------------------------------------


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and abs(number) < 2**63 else None


def _scaled(value: object, factor: float) -> float | None:
    number = _number(value)
    return None if number is None else number * factor


def _text(value: object) -> str | None:
    return None if value is None else printable(str(value))


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_ROWS: Final[dict[str, Callable[[CaseResult, Mapping[str, Any]], Iterator[dict[str, Any]]]]] = {
    "cases": _case,
    "figures": _figures,
    "links": _links,
    "ledger": _ledger,
}
RESULT_TABLES: Final = tuple(_ROWS)
"""Tables that a result file holds alone."""
