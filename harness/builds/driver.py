"""Run cases in a build: started by that build's Python, it imports that build's harness and nothing of ours.

This file is a program, not a module of the harness that starts it. It knows three names of a harness, which have been
there since it has run cases: ``expand`` reads a scenario, ``run_case`` runs a case of it, ``RunContext`` says on which
back end. Orders come as lines of JSON on standard input, answers go as lines of JSON to the standard output that it
found; whatever a case prints goes to standard error.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import resource
import secrets
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

LAYOUTS = (
    {"expand": "harness.scenario.expand", "run_case": "harness.run.case", "RunContext": "harness.run.context",
     "Backend": "harness.scenario.link"},
    {"expand": "harness.expand", "run_case": "harness.session", "RunContext": "harness.session",
     "Backend": "harness.linkspec"},
)  # fmt: skip
"""Where the names are: in rooms, and before there were any."""


class Harness:
    """The build's own harness."""

    expand: Any
    run_case: Any
    RunContext: Any
    core: Any
    Backend: Any

    def __init__(self) -> None:
        rooms = importlib.util.find_spec("harness.run") is not None
        for name, module in LAYOUTS[0 if rooms else 1].items():
            setattr(self, name, getattr(importlib.import_module(module), name))
        self.core = importlib.import_module("punktfunk.core._core")
        self.modules = [str(sys.modules["harness"].__file__), str(self.core.__file__)]
        self.in_core_ns = 0
        self._plans: dict[tuple[str, int | None], dict[str, Any]] = {}
        simulate = getattr(self.core, "simulate", None)
        if simulate is not None:
            self.core.simulate = self._timed(simulate)

    def _timed(self, simulate: Any) -> Any:
        @functools.wraps(simulate)
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time_ns()
            try:
                return simulate(*arguments, **options)
            finally:
                self.in_core_ns += time.thread_time_ns() - began

        return timed

    def cases(self, file: str, seed: int | None) -> dict[str, Any]:
        """Return a scenario's cases by name; what was expanded last is kept."""
        if (file, seed) not in self._plans:
            plan = self.expand(Path(file), seed=seed)
            self._plans = {(file, seed): {case.id: case for case in plan.cases}}
        return self._plans[file, seed]

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run a case into its folder, and return what it took."""
        case = self.cases(order["file"], order["seed"])[order["case"]]
        folder = Path(order["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        backend = order["backend"]
        context = self.RunContext(
            run_id=secrets.token_hex(3),
            backend=None if backend is None else self.Backend(backend),
        )
        self.in_core_ns = 0
        began, used = time.monotonic_ns(), _cpu_s()
        result = self.run_case(case, folder, context)
        took_s, wall_ns = _cpu_s() - used, time.monotonic_ns() - began
        (folder / "case.json").write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return {
            "cpu_ms": took_s * 1e3,
            "core_ms": self.in_core_ns / 1e6 or None,
            "wall_s": wall_ns / 1e9,
        }


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of all children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> int:
    """Answer orders until there are none; return the exit status."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        harness = Harness()
    except (ImportError, AttributeError) as error:
        _answer(answers, {"too_old": f"{type(error).__name__}: {error}"})
        return 0
    except Exception as error:  # noqa: BLE001 - whatever a foreign build does when it is imported is what is wrong with it
        _answer(answers, {"broken": f"{type(error).__name__}: {error}"})
        return 0
    _answer(answers, {"ready": True, "modules": harness.modules})
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "list":
                answer: dict[str, Any] = {"cases": list(harness.cases(order["file"], order["seed"]))}
            else:
                answer = harness.run(order)
        except KeyboardInterrupt:
            return 130
        except Exception as error:  # noqa: BLE001 - it is a foreign build's; who ordered hears of it
            traceback.print_exc()
            answer = {"refused": str(error), "code": getattr(error, "code", type(error).__name__)}
        _answer(answers, answer)
    return 0


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
