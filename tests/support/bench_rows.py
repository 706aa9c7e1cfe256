"""Rows of the table of benches and what measures them, made up: machines that were quiet or busy, figures, samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from harness.analysis.results import Quietness
from tests.bench.table.figures import Figures
from tests.bench.table.targets import Target

QUIET = Quietness(quiet=True, seconds=9, cpus=2, others=0.01, others_worst=0.02, own=0.5, run_delay=0.01)
BUSY = QUIET.model_copy(
    update={"quiet": False, "others": 0.6, "reasons": ["other processes took 60% of 2 CPUs"]}
)


def target(judged: str = "ratio", wanted: float = 2.5, unit: str = "GB/s") -> Target:
    return Target(
        row="gf16/encode/50+10",
        title="a title",
        bench="rivals",
        rival="R",
        judged=judged,
        unit=unit,
        target=wanted,
    )


def figures(ratio: float = 2.5, **more: Any) -> Figures:
    row = {
        "work": "gf16/encode/50+10",
        "ours": (8, 7, 9),
        "rival": (3, 2, 4),
        "ratio": (ratio, ratio / 2, ratio * 2),
    }
    return Figures.model_validate(row | more)


class FakeWatch:
    """A watch that finds what it is told to: the suite's own machine is busy."""

    def __init__(self, found: Quietness) -> None:
        self.found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def keep(folder: Path, row: str, size: int, times: list[float], iterations: list[float]) -> None:
    """Write samples as criterion keeps them."""
    made = folder / "pipeline" / row.replace("/", "_") / "new"
    made.mkdir(parents=True)
    (made / "benchmark.json").write_text(json.dumps({"full_id": row, "throughput": {"Bytes": size}}))
    (made / "sample.json").write_text(json.dumps({"times": times, "iters": iterations}))
