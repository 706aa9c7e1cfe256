"""A copy of the working tree in which the tools may plant bugs: the tree itself is never touched."""

from __future__ import annotations

import fcntl
import filecmp
import shutil
import subprocess
from pathlib import Path
from typing import TextIO

from tests.mutants.rooms import CORE, ROOT

PLACE = ROOT / ".nox" / "mutants"
_KEPT = {"target", "mutants"}
_locks: list[TextIO] = []


def copy(language: str) -> Path:
    """Bring the copy of that language's tool up to the working tree, uncommitted work included; return its path.

    The copy stays locked until this process ends; raises ``SystemExit`` where another run has it.
    """
    tree = PLACE / language
    tree.mkdir(parents=True, exist_ok=True)
    lock = (PLACE / f"{language}.lock").open("w")
    _locks.append(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"another run is planting {language} bugs in {tree.relative_to(ROOT)}") from None
    refresh(tree)
    return tree


def refresh(tree: Path) -> None:
    """Make a copy equal to the working tree again: a tool that was ended may have left a bug in it.

    A file that did not change keeps its time, so that cargo does not build it again.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    wanted = {Path(name) for name in names if name and (ROOT / name).is_file()}
    wanted.add(CORE / "_core.abi3.so")
    for path in [p for p in tree.rglob("*") if p.is_file()]:
        relative = path.relative_to(tree)
        if relative not in wanted and not _KEPT & set(relative.parts):
            path.unlink()
    for name in sorted(wanted):
        target = tree / name
        if not target.is_file() or not filecmp.cmp(ROOT / name, target, shallow=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
