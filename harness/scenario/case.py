"""One point of a scenario's matrix: its name, its seed, its session."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.scenario.document import Scalar
from harness.scenario.model import Session


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a scenario's matrix, one repeat of it: everything that is needed to run it again."""

    id: str
    """Unique in its run and safe as a folder name: ``loss-sweep.matrix.loss=2,fec=20``."""
    scenario: str
    spec: Session
    seed: int
    """Derived from the scenario's seed, the case's parameters and its repeat: a new value moves no other. An axis that
    chooses protocol or peers is no such parameter: two wires, and two programs, meet the same losses."""
    params: dict[str, Any] = field(default_factory=dict)
    """The matrix values as they were written, by axis; of an axis of rows its first name."""
    layer: str = ""
    repeat: int = 0
    file: str = ""
    """The scenario's path as it was given, for the command that replays this case."""
    run_seed: int | None = None
    """The seed that was given instead of the scenario's own; None when none was."""
    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The axes whose values were given instead of the scenario's own."""


def case_seed(seed: int, scenario: str, layer: str, params: dict[str, Any], repeat: int) -> int:
    """Return a case's seed, below 2^53 so that every JSON reader keeps it exact."""
    text = json.dumps(
        [seed, scenario, layer, sorted(params.items()), repeat], separators=(",", ":"), default=str
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11


def label_of(value: Any) -> Any:
    """Return what an axis value is called: that of a peer's description is the name of its file."""
    return Path(value).stem if isinstance(value, str) and value.endswith((".yaml", ".yml")) else value


def slug(value: Scalar) -> str:
    """Write an axis value so that it can stand in a folder's name: ``2 %`` gives ``2``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return re.sub(r"[^A-Za-z0-9._+-]+", "", str(value).replace("%", "")) or "x"


def folder_name(name: str) -> str:
    """Keep a name below what file systems take (255 bytes), unique by a hash of the whole."""
    if len(name) <= 160:
        return name
    return f"{name[:140]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
