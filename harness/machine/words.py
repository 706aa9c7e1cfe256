"""What was found of the machine, in words for a line of text."""

from __future__ import annotations

from harness.analysis.results import Quietness
from punktfunk.printable import printable_lines


def thieves(machine: Quietness, most: int = 3, *, rivals: bool = False) -> str:
    """Return who took most CPU time outside of our own tree: ``cc1plus (4 processes) 12.1 s, backup (pid 7) 2.0 s``.

    With ``rivals`` those at idle priority are left out: they took nothing that we wanted.
    """
    named = []
    for thief in [thief for thief in machine.thieves if not (rivals and thief.yields)][:most]:
        count = len(thief.pids)
        where = f"pid {thief.pids[0]}" if count == 1 else f"{count} processes" if count else "ended"
        where = f" ({where}, idle priority)" if thief.yields else f" ({where})"
        named.append(f"{thief.name}{where} {thief.cpu_s:.1f} s")
    return printable_lines(", ".join(named))
