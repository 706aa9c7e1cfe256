"""A program of this repository as one end of a live link: JSON in a file at its start, JSON lines while it runs."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.network.pace import PATIENCE
from harness.network.process import NamespaceProcess
from harness.peers.peer import Ends, Place, Role
from harness.scenario.model import Session
from punktfunk.errors import HarnessError, ResultsError

_READY_S = 30.0 * PATIENCE


class ProgramPeer:
    """One end that is any program in a namespace; it says ``ready`` on standard output."""

    role: ClassVar[Role]
    ports: ClassVar[frozenset[int]] = frozenset()
    ends: Ends = "itself"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._started: NamespaceProcess | None = None
        self._said: Mapping[str, Any] = {}

    def _run(self, command: list[str], namespace: Namespace) -> None:
        """Start a command; the topology stops it at the latest."""
        topology = self._place.link.topology
        self._started = NamespaceProcess(
            self.role,
            command,
            registration=topology.registration,
            folder=self._place.folder,
            namespace=namespace,
            environment=self._place.environment(),
        )
        topology.callback(self._started.stop)

    def ready(self) -> None:
        """Wait until it says so; raise HarnessError with its last words when it does not."""
        self._said = self._process.wait_event("ready", _READY_S)

    @property
    def fingerprint(self) -> str:
        """Of the certificate that it shows, in hex; "" where it tells none, or is not ready."""
        return str(self._said.get("fingerprint", ""))

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._started is not None and self._started.returncode is None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its own end; return its exit status or None when it still runs."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()

    def stop(self) -> int | None:
        """End it, 9 s at most; return its exit status."""
        return self._process.stop()

    def last_words(self) -> str:
        """Return the last line of its log that is not empty."""
        return self._process.last_words()

    @property
    def _process(self) -> NamespaceProcess:
        if self._started is None:
            raise HarnessError(f"the {self.role} has not been started")
        return self._started


class ProcessPeer(ProgramPeer, ABC):
    """One end that is started as ``python -m PROGRAM --config FILE`` in its namespace.

    It leaves ``stats.json`` and tables of frames in ``folder``/ROLE.
    """

    program: ClassVar[str]

    def __init__(self, spec: Session, place: Place) -> None:
        super().__init__(place)
        self._spec = spec
        self._left = place.folder / self.role

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the program's configuration, as JSON."""

    @abstractmethod
    def _namespace(self) -> Namespace:
        """Return where it runs."""

    def start(self) -> None:
        """Start the program in its namespace."""
        config = self._place.folder / f"{self.role}.config.json"
        config.write_text(json.dumps(self.config(), indent=1), encoding="utf-8")
        self._run([sys.executable, "-m", self.program, "--config", str(config)], self._namespace())

    def _left_stats(self) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._left / "stats.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ResultsError(f"the {self.role} left no statistics: {self.last_words()}") from error
        return found

    def _table(self, name: str) -> Records | None:
        path: Path = self._left / name
        return records.load_npz(path) if path.is_file() else None
