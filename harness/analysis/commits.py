"""The order of commits: that of a repository which knows them all, else of the first run that was made of each."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CHANGED: Final = "+"
"""At the end of a commit's name: with changes on top of it."""
_MOST_COMMITS: Final = 100_000


def ordered(first_runs: Mapping[str, float], repository: Path) -> tuple[list[str], bool]:
    """Return commits from old to new, and whether the repository told their order.

    ``first_runs`` has the time of the first run of each. A commit with changes on top follows the one without.
    """
    by_time = sorted(first_runs, key=lambda commit: first_runs[commit])
    known = _history(repository)
    places = {commit: _place(known, commit.removesuffix(CHANGED)) for commit in by_time}
    if not known or any(place is None for place in places.values()):
        return by_time, False
    # Sorting is stable: runs of several states of changes on one commit stay in the order of time.
    return sorted(by_time, key=lambda commit: (places[commit] or 0, commit.endswith(CHANGED))), True


def _history(repository: Path) -> dict[str, int]:
    """Return the place of each commit of a repository, parents before children; empty where there is none."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), "rev-list", "--topo-order", "--reverse", "--all", "HEAD"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {commit: place for place, commit in enumerate(done.stdout.split()[-_MOST_COMMITS:])}


def _place(known: Mapping[str, int], prefix: str) -> int | None:
    """Return where a commit stands that is named by the beginning of its hash; None where that names none."""
    if len(prefix) < 7:
        return None
    return next((place for commit, place in known.items() if commit.startswith(prefix)), None)
