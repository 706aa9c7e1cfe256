"""One planted bug, its outcome, and the list of those that change nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ACCEPTED = Path(__file__).with_name("accepted.toml")


class Outcome(StrEnum):
    """What the tests said; only what compiles is judged."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    UNTESTED = "survived: no test of the room runs this function"
    UNVIABLE = "does not compile"
    NOT_RUN = "not run"

    @property
    def survived(self) -> bool:
        """Return whether the bug went unnoticed."""
        return self in (Outcome.SURVIVED, Outcome.UNTESTED)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place. ``before`` and ``after`` are the text that names it, whitespace made equal."""

    room: str
    file: str
    line: int
    function: str
    before: str
    after: str
    outcome: Outcome = Outcome.NOT_RUN

    def __str__(self) -> str:
        """Return the place as editors read it, and the change below it."""
        return f"{self.file}:{self.line}  {self.function}\n    - {self.before}\n    + {self.after}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mutant that no test can notice, or that none should, and why. It is found by its text, not its line."""

    file: str
    function: str
    before: str
    after: str
    reason: str

    def matches(self, mutant: Mutant) -> bool:
        """Return whether this entry speaks of ``mutant``."""
        return (self.file, self.function, squeeze(self.before), squeeze(self.after)) == (
            mutant.file,
            mutant.function,
            mutant.before,
            mutant.after,
        )


def squeeze(text: str) -> str:
    """Return ``text`` on one line with single spaces, so that formatting does not part an entry from its mutant."""
    return " ".join(text.split())


def accepted(path: Path = ACCEPTED) -> list[Accepted]:
    """Read the accepted mutants; an entry without a reason raises ``ValueError``."""
    entries = [Accepted(**entry) for entry in tomllib.loads(path.read_text()).get("accepted", [])]
    for entry in entries:
        if not entry.reason.strip():
            raise ValueError(f"{path.name}: {entry.file} {entry.function}: no reason for {entry.after!r}")
    return entries


def stale(entries: Iterable[Accepted], mutants: Sequence[Mutant]) -> list[str]:
    """Return a line for each entry that speaks of nothing, or of a mutant that tests caught: it has to go.

    Only entries whose file was mutated are judged: a run of one room knows nothing of the others.
    """
    files = {mutant.file for mutant in mutants}
    complaints = []
    for entry in entries:
        if entry.file not in files:
            continue
        named = [m for m in mutants if entry.matches(m)]
        if not named:
            complaints.append(
                f"{entry.file} {entry.function}: there is no mutant {entry.before!r} → {entry.after!r}"
            )
        elif all(m.outcome is Outcome.CAUGHT for m in named):
            complaints.append(f"{entry.file} {entry.function}: {entry.after!r} was accepted and is caught")
    return complaints


@dataclass(frozen=True, slots=True)
class Score:
    """How much of what was tried the tests noticed; accepted mutants do not count."""

    caught: int
    survived: int
    accepted: int
    not_run: int

    @property
    def percent(self) -> float | None:
        """Return the caught share in percent; None when nothing was judged."""
        judged = self.caught + self.survived
        return 100 * self.caught / judged if judged else None

    def __str__(self) -> str:
        """Return the score in words."""
        share = "nothing judged" if self.percent is None else f"{self.percent:.1f} % caught"
        parts = f"{self.caught} caught, {self.survived} survived, {self.accepted} accepted"
        return f"{share} ({parts}{f', {self.not_run} not run' if self.not_run else ''})"


def judge(mutants: Iterable[Mutant], entries: Sequence[Accepted]) -> tuple[Score, list[Mutant]]:
    """Return the score and the survivors that nothing excuses, in the order of their places."""
    caught = excused = not_run = 0
    survivors = []
    for mutant in mutants:
        if mutant.outcome is Outcome.CAUGHT:
            caught += 1
        elif mutant.outcome is Outcome.NOT_RUN:
            not_run += 1
        elif mutant.outcome.survived:
            if any(entry.matches(mutant) for entry in entries):
                excused += 1
            else:
                survivors.append(mutant)
    survivors.sort(key=lambda m: (m.file, m.line, m.after))
    return Score(caught, len(survivors), excused, not_run), survivors
