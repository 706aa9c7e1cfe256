"""What a machine can do, found out by trying: one row a capability, who uses it, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from punktfunk.errors import CapabilityError, PunktfunkError
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say_json

_APT = "apt-get install "


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability."""

    name: str
    ok: bool
    used_by: str
    detail: str = ""
    fix: str = ""
    essential: bool = False
    """Without it nothing runs; everything else only narrows what can be run."""


def collect(probes: Iterable[Callable[[], Iterable[Finding]]]) -> list[Finding]:
    """Run every probe; one that breaks is a missing capability, never a crash."""
    findings: list[Finding] = []
    for probe in probes:
        try:
            findings += probe()
        except (OSError, PunktfunkError, ImportError) as error:
            findings.append(Finding(probe.__name__.strip("_"), False, "?", f"could not be tried: {error}"))
    return findings


def tried(
    name: str, used_by: str, fix: str, attempt: Callable[[], object], *, essential: bool = False
) -> Finding:
    """Make a finding of an attempt; a string that it returns is told as the detail."""
    try:
        result = attempt()
    except PunktfunkError as error:
        return Finding(name, False, used_by, error.cause, error.hint or fix, essential)
    except OSError as error:
        return Finding(name, False, used_by, error.strerror or str(error), fix, essential)
    return Finding(name, True, used_by, result if isinstance(result, str) else "", "", essential)


def show(findings: Sequence[Finding], console: Console, *, as_json: bool = False) -> int:
    """Print findings and return the exit status: 4 when something essential is missing, else 0."""
    if as_json:
        say_json([asdict(finding) for finding in findings], indent=2)
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("capability", "", "used by", "fix, or what was found"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            mark = "[green]yes[/]" if finding.ok else "[red]no[/]"
            what = finding.detail if finding.ok else " - ".join(t for t in (finding.detail, finding.fix) if t)
            name, used_by, what = (t.replace("[", r"\[") for t in (finding.name, finding.used_by, what))
            table.add_row(name, mark, used_by, what)
        console.print(table)
        wanted = [f.fix.removeprefix(_APT) for f in findings if not f.ok and f.fix.startswith(_APT)]
        packages = dict.fromkeys(wanted)  # two capabilities may lack the same one
        if packages:
            command = _APT + " ".join(packages)
            console.print(f"\nall missing Debian packages: {command}", markup=False, soft_wrap=True)
    lacking = any(finding.essential and not finding.ok for finding in findings)
    return CapabilityError.exit_code if lacking else 0
