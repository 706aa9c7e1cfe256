"""The matrix of programs as one self-contained page: hosts down, clients across, a mark for each test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2

from harness.analysis.results import CaseResult, RunResult, Status
from harness.report.text import MARK, WORD, clean, duration, figure, layer_of

_FILES: Final = (
    "host.log",
    "client.log",
    "host.pair.log",
    "client.pair.log",
    "client.pcapng",
    "client.dump",
    "wire.video",
)
"""What a case leaves that explains it, in the order in which it is looked at."""
_SEEN: Final = {
    "impossible": "asked for what cannot be, the {}",
    "pairing": "pairing, {}",
    "told": "its own statistics, the {}",
    "wire": "{} on the wire",
}
"""What was seen from outside, and what the page calls each part of it."""
_MEANS: Final = {
    Status.PASSED: "passed",
    Status.FAILED: "failed: these programs do not do it together",
    Status.UNSUPPORTED: "unsupported: one of them cannot do it, and says so or is known not to",
    Status.FAULT: "a fault of this harness, which says nothing of the programs",
    Status.INTERRUPTED: "interrupted",
}
_CODE: Final = re.compile(r" \[PF[0-9]+\]")
_FIGURES: Final = ("transport_loss", "pictures_read", "pictures_missing", "recovery", "transport_p99")


@dataclass(frozen=True, slots=True)
class Mark:
    """One test of a host with a client."""

    test: str
    anchor: str
    case: CaseResult
    sign: str
    word: str
    explained: str
    """Why it did not pass, or by what it did."""
    seen: list[tuple[str, str]]
    checks: list[tuple[str, str, str]]
    links: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """One wire: ``rows`` are a host and, for each client, its marks.

    A program is its name in the scenario and what it calls itself; "" where it was never started, or says the same.
    """

    protocol: str
    clients: list[tuple[str, str]]
    rows: list[tuple[tuple[str, str], list[list[Mark]]]]


def render(run: RunResult, folder: Path) -> str:
    """Return the page as text; links lead into ``folder``, to what is there. It loads nothing."""
    tables = _tables(run, folder)
    counts = {status: sum(case.status is status for case in run.cases) for status in Status}
    return _template().render(
        run=run,
        tables=tables,
        marks=[mark for table in tables for _, cells in table.rows for cell in cells for mark in cell],
        meanings=[(MARK[status], _MEANS[status]) for status in counts if counts[status]],
        counts=[(MARK[s], _word(s), n) for s, n in counts.items() if n],
        tests=list(dict.fromkeys(_test(case) for case in run.cases)),
        word=WORD[run.verdict],
        sign=MARK[run.verdict],
    )


def _tables(run: RunResult, folder: Path) -> list[Table]:
    numbers = {case.id: number for number, case in enumerate(run.cases)}
    tables = []
    for protocol in dict.fromkeys(case.protocol for case in run.cases):
        cases = [c for c in run.cases if c.protocol == protocol and {"host", "client"} <= c.params.keys()]
        hosts, clients = (
            list(dict.fromkeys(str(c.params[axis]) for c in cases)) for axis in ("host", "client")
        )
        programs = {
            (role, str(case.params[role])): clean(peer.program)
            for case in cases
            for role, peer in case.peers.items()
        }
        rows = [
            (
                (host, _unlike(programs.get(("host", host), ""), host)),
                [
                    [
                        _mark(case, numbers[case.id], folder)
                        for case in cases
                        if (str(case.params["host"]), str(case.params["client"])) == (host, client)
                    ]
                    for client in clients
                ],
            )
            for host in hosts
        ]
        named = [(client, _unlike(programs.get(("client", client), ""), client)) for client in clients]
        tables.append(Table(protocol, named, rows))
    return tables


def _unlike(program: str, name: str) -> str:
    return "" if program == name else program


def _mark(case: CaseResult, number: int, folder: Path) -> Mark:
    place = folder / case.folder
    names = [name for name in _FILES if case.folder and (place / name).is_file()]
    links = [(name, quote(f"{case.folder}/{name}")) for name in names]
    links += [("all files", quote(f"{case.folder}/"))] if place.is_dir() and case.folder else []
    links.append(("report", f"report.html#case-{number}"))
    return Mark(
        test=_test(case),
        anchor=f"cell-{number}",
        case=case,
        sign=MARK[case.status],
        word=_word(case.status),
        explained=clean(_CODE.sub("", case.reason) or _in_short(case)),
        seen=_seen(case),
        checks=[("✓" if c.passed else "✗", clean(c.name), clean(c.measured)) for c in case.checks],
        links=links,
    )


def _in_short(case: CaseResult) -> str:
    """Return by what a case was judged, and for which checks that did not hold."""
    evidence = case.outside.get("evidence")
    by = ", ".join(map(str, evidence)) if isinstance(evidence, list) else "records of both ends"
    odd = [
        f"{check.name}: {check.measured}, not {check.expected}" for check in case.checks if not check.passed
    ]
    held = f"{len(case.checks) - len(odd)} of {len(case.checks)} checks hold, judged by {by}"
    return "; ".join([*odd, held])


def _seen(case: CaseResult) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, label in _SEEN.items():
        part = case.outside.get(key)
        if isinstance(part, dict):
            found += [(label.format(clean(name)), clean(_line(value))) for name, value in part.items()]
    found += [
        (name.replace("_", " "), figure(case.metrics[name]))
        for name in _FIGURES
        if name in case.metrics and case.metrics[name].value is not None
    ]
    return found


def _line(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _test(case: CaseResult) -> str:
    return clean(layer_of(case).removeprefix(f"{case.scenario}."))


def _word(status: Status) -> str:
    """A program that says that it cannot is no machine that lacks something."""
    return "unsupported" if status is Status.UNSUPPORTED else WORD[status]


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["duration"] = duration
    return environment.get_template("interop.html.j2")
