"""What a case needs to know of the run around it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.scenario.link import Backend


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run around a case: its name, and what it asks of every case."""

    run_id: str
    """Short, lower case: the names of namespaces and devices carry it so that leftovers are known as ours."""
    backend: Backend | None = None
    """Overrides ``link.backend`` of every case."""
    strict: bool = False
    """In CI: what this machine cannot run is a failure instead of a note."""
    require_quiet: bool = False
    """Refuse what a live case found while the machine was busy."""
    environment_class: str = ""
    """Machine class that baselines are matched by."""
