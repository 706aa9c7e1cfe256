"""The Rust reference beside our pipeline: its own bench, in turns with ours.

The reference is a checkout of that project at v0.31.0, outside this repository. Its crate ``punktfunk-core`` has a
criterion bench ``pipeline`` whose rows are named ``pipeline/CODE/BYTES``; criterion keeps the samples of each as JSON.
It has frames of 64 KiB and 1 MiB. Those of 20 kB and 4 MiB are there once their sizes are added to the list in its
``benches/pipeline.rs``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.table import programs
from tests.bench.table.figures import BenchError, Figures, Output, spread

CRATE: Final = "punktfunk-core"
BENCH: Final = "pipeline"
MAX_SAMPLES: Final = 4 << 20
MAX_ROWS: Final = 200
_SIZES: Final = {"kB": 1000, "KiB": 1 << 10, "MiB": 1 << 20}
_OPTIONS: Final = ("--bench", "--noplot", "--warm-up-time", "0.3", "--measurement-time", "1", f"{BENCH}/")


class Reference:
    """A build of the reference's bench, whose rows can be measured any number of times."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Build it in ``folder``; raise :class:`BenchError` where that is no checkout, or cannot be built."""
        source = folder / "crates" / CRATE / "benches" / f"{BENCH}.rs"
        if not source.is_file():
            raise BenchError(
                f"{folder} has no crates/{CRATE}/benches/{BENCH}.rs: --reference wants a checkout of the Rust reference"
            )
        self._folder = folder.resolve()
        # Cargo's folder of ours would mix two crates of one name.
        self._environment = {name: value for name, value in environment.items() if name != "CARGO_TARGET_DIR"}
        built = programs.build(self._folder / "Cargo.toml", [BENCH], self._environment, "-p", CRATE)
        self._program = built[BENCH]

    def measure(self, kept: Path) -> dict[str, float]:
        """Run the bench, have criterion keep its samples in ``kept``, and return bytes a second by the row's name."""
        environment = {**self._environment, "CRITERION_HOME": str(kept)}
        programs.run([str(self._program), *_OPTIONS], environment, self._folder)
        return throughputs(kept)


def throughputs(kept: Path) -> dict[str, float]:
    """Return bytes a second, by the median of its samples, of each row whose samples criterion kept in a folder."""
    found = {}
    for number, file in enumerate(sorted(kept.glob("**/new/benchmark.json"))):
        if number >= MAX_ROWS:
            raise BenchError(f"the reference's bench has more than {MAX_ROWS} rows")
        try:
            row, sample = (_document(path) for path in (file, file.with_name("sample.json")))
            times = [time / count for time, count in zip(sample["times"], sample["iters"], strict=True)]
            # In nanoseconds of the clock on the wall.
            found[str(row["full_id"])] = float(row["throughput"]["Bytes"]) / spread(times)[0] * 1e9
        except (KeyError, TypeError, ValueError, ArithmeticError, OSError) as error:
            raise BenchError(
                f"criterion's samples are not as expected in {file.parent.name}: {error!r}"
            ) from error
    if not found:
        raise BenchError("the reference's bench kept no samples")
    return found


def _document(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        text = opened.read(MAX_SAMPLES + 1)
    if len(text) > MAX_SAMPLES:
        raise ValueError("too long")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise TypeError("no object")
    return document


def frame_bytes(row: str) -> int:
    """Return the bytes of the frame that a row ``pipeline/CODE/64 KiB`` is about."""
    found = re.fullmatch(r".*/(\d+) (kB|KiB|MiB)", row)
    if found is None:
        raise BenchError(f"{row} names no size of a frame")
    return int(found[1]) * _SIZES[found[2]]


def beside(row: str, ours: list[Output], theirs: list[dict[str, float]]) -> Figures:
    """Return a row's figures of turns in which ours ran, then theirs: each turn's medians and their ratio."""
    code = row.split("/")[1]
    name = f"{BENCH}/{code}/{frame_bytes(row)}"
    mine, rival = [], []
    for output, throughput in zip(ours, theirs, strict=True):
        figures = output.find(row)
        if figures is None or figures.ours is None:
            return Figures(work=row, failed="the bench session has no such row")
        if name not in throughput:
            return Figures(work=row, failed=f"the reference's bench has no {name}")
        mine.append(figures.throughput(figures.ours, "GB/s")[0])
        rival.append(throughput[name] * 1e-9)
    ratios = [a / b for a, b in zip(mine, rival, strict=True)]
    return Figures(work=row, ours=spread(mine), rival=spread(rival), ratio=spread(ratios))
