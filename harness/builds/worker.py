"""A build that runs: its driver as a process, which is given a case and answers when it has run."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from harness.analysis.definitions import CASE_CPU, CORE_CPU
from harness.analysis.results import MAX_RESULT_BYTES, CaseResult, Metric, Status, case_from_json
from harness.builds import driver, failures
from harness.builds.make import Build
from harness.scenario.link import Backend
from punktfunk.errors import BuildError, BuildTooOldError
from punktfunk.printable import printable
from punktfunk.regular_file import read_regular

START_S: Final = 120.0
"""That a build may take to import its harness."""
MAX_ANSWER_BYTES: Final = 16 << 20
"""Of an answer: the names of 20,000 cases have 4 MB."""
MAX_REASON: Final = 500
"""Characters of why a build's harness gave a case up."""
_TOLD_BYTES: Final = 16_000
_INHERITED: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
"""What would let a build find another one's modules."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A case that a build has run."""

    result: CaseResult
    wall_s: float


class Worker:
    """A build's process; a context manager, which ends it."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._rest = b""
        source = build.python.parents[2] / "source"
        env = {name: value for name, value in os.environ.items() if name not in _INHERITED}
        self._process = subprocess.Popen(
            [str(build.python), "-P", driver.__file__],
            cwd=source,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        try:
            self._require_ready(self._answer(START_S, "starting"), source)
        except BaseException:
            self.close()
            raise

    def _require_ready(self, answer: dict[str, Any], source: Path) -> None:
        title = self.build.origin.title
        if "too_old" in answer:
            raise BuildTooOldError(f"{title} cannot take part: {answer['too_old']}", "take a later revision")
        if "ready" not in answer:
            raise BuildError(f"{title} does not start: {answer.get('broken', answer)}")
        strangers = [path for path in answer["modules"] if not Path(path).is_relative_to(source)]
        if strangers:
            raise BuildError(f"{title} does not run its own modules, but {strangers[0]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cases(self, file: Path, seed: int | None) -> list[str]:
        """Return the names of a scenario's cases; raise BuildTooOldError where this build cannot read it."""
        return list(
            self._ask(
                {"do": "list", "file": str(file.resolve()), "seed": seed}, START_S, "reading the scenario"
            )["cases"]
        )

    def run(  # noqa: PLR0917 - what a case is run with
        self, file: Path, seed: int, case: str, backend: Backend | None, folder: Path, limit_s: float
    ) -> Ran:
        """Run a case into a folder, and return its result as this version reads it, with the CPU time that it took.

        A case that the build's harness gives up on ends as a fault of its own. Raises BuildError where the build
        itself does, and BuildTooOldError where it cannot read the scenario.
        """
        order = {
            "do": "run",
            "file": str(file.resolve()),
            "seed": seed,
            "case": case,
            "backend": None if backend is None else str(backend),
            "folder": str(folder.resolve()),  # its process works elsewhere
        }
        began = time.monotonic()
        answer = self._ask(order, limit_s, f"running {case}", given_up=True)
        if "refused" in answer:
            # Another try may well end otherwise: what a busy machine does to a handshake is no fault of the build.
            return Ran(_given_up(case, seed, backend, str(answer["refused"])), time.monotonic() - began)
        path = folder / "case.json"
        try:
            result = case_from_json(read_regular(path, MAX_RESULT_BYTES), path)
        except OSError as error:
            raise BuildError(
                f"{self.build.origin.title} left no result of {case}: {error.strerror}"
            ) from error
        for definition, value in ((CASE_CPU, answer["cpu_ms"]), (CORE_CPU, answer["core_ms"])):
            result.metrics[definition.name] = Metric(
                value=value, unit=definition.unit, better=definition.better
            )
        return Ran(result, float(answer["wall_s"]))

    def close(self) -> None:
        """End the process: at its next order, or at once where it hears none."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _ask(
        self, order: dict[str, Any], limit_s: float, what: str, *, given_up: bool = False
    ) -> dict[str, Any]:
        """Return the answer to an order; with ``given_up`` also that the build's harness gave the case up."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._lost(what) from None
        answer = self._answer(limit_s, what)
        too_old = answer.get("code") == "PF610"
        if "refused" in answer and (too_old or not given_up):
            error = BuildTooOldError if too_old else BuildError
            raise error(
                f"{self.build.origin.title}, {what}: {answer['refused']}",
                "its harness reads scenarios of its own time: take a later revision, or a scenario that it knows"
                if error is BuildTooOldError
                else "",
            )
        return answer

    def _answer(self, limit_s: float, what: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        until = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self._process.kill()
                raise BuildError(f"{self.build.origin.title}, {what}: no answer within {limit_s:.0f} s")
            read = os.read(pipe, 1 << 16)
            if not read:
                raise self._lost(what)
            self._rest += read
            if len(self._rest) > MAX_ANSWER_BYTES:
                self._process.kill()
                raise BuildError(f"{self.build.origin.title}, {what}: an answer without an end")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise BuildError(f"{self.build.origin.title}, {what}: an answer that is no JSON") from error
        return answer if isinstance(answer, dict) else {}

    def _lost(self, what: str) -> BuildError:
        code = self._process.wait()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _TOLD_BYTES))
        words = failures.last_words(self._said.read().decode(errors="replace"))
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        return BuildError(f"{self.build.origin.title}, {what}: its process {how}: {words}")


def _given_up(case: str, seed: int, backend: Backend | None, reason: str) -> CaseResult:
    return CaseResult(
        id=case,
        scenario="",
        seed=seed,
        protocol="",
        backend="" if backend is None else str(backend),
        status=Status.FAULT,
        reason=printable(reason, MAX_REASON),
    )
