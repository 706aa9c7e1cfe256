"""From scenario files to cases: merge, vary, validate."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from harness.scenario import Session


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a scenario's matrix, one repeat of it: everything that is needed to run it again."""

    id: str
    """Unique in its run and safe as a folder name: ``matrix.loss=2,fec=20,repeat=0``."""
    scenario: str
    spec: Session
    seed: int
    """Derived from the scenario's seed, the case's parameters and its repeat: a new value moves no other."""
    params: dict[str, Any] = field(default_factory=dict)
    """The matrix values as they were written, by axis."""
    layer: str = ""
    repeat: int = 0
    file: str = ""
    """The scenario's path as it was given, for the command that replays this case."""


def case_seed(seed: int, scenario: str, layer: str, params: dict[str, Any], repeat: int) -> int:
    """Return a case's seed, below 2^53 so that every JSON reader keeps it exact."""
    text = json.dumps(
        [seed, scenario, layer, sorted(params.items()), repeat], separators=(",", ":"), default=str
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11


def slug(value: object) -> str:
    """Write an axis value so that it can stand in a folder's name: ``2 %`` gives ``2``."""
    text = (
        {True: "on", False: "off", None: "none"}.get(value)
        if value is None or isinstance(value, bool)
        else None
    )
    if text is None:
        text = re.sub(r"[^A-Za-z0-9._+-]+", "", str(value).replace("%", ""))
    return text or "x"
