"""The Rust reference beside our pipeline: its own bench, in turns with ours.

The reference is a checkout of that project at v0.31.0, outside this repository. Its crate ``punktfunk-core`` has a
criterion bench ``pipeline`` whose rows are named ``pipeline/CODE/BYTES``; criterion keeps the samples of each as JSON.
It has frames of 64 KiB and 1 MiB. Those of 20 kB and 4 MiB are there once their sizes are added to the list in its
``benches/pipeline.rs``.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from punktfunk.printable import printable
from tests.bench.table import programs
from tests.bench.table.documents import TooLongError, bounded, first_fault
from tests.bench.table.figures import BenchError, Figure, Figures, Output, spread

CRATE: Final = "punktfunk-core"
BENCH: Final = "pipeline"
MAX_SAMPLES: Final = 4 << 20
MAX_ROWS: Final = 200
MOST: Final = 1e15
"""Bytes a second that nothing reaches."""
_SIZES: Final = {"kB": 1000, "KiB": 1 << 10, "MiB": 1 << 20}
_OPTIONS: Final = ("--bench", "--noplot", "--warm-up-time", "0.3", "--measurement-time", "1", f"{BENCH}/")


def build(folder: Path, environment: Mapping[str, str]) -> Path:
    """Build the bench in ``folder`` and return it; raise :class:`BenchError` where that is no checkout, or fails."""
    source = folder / "crates" / CRATE / "benches" / f"{BENCH}.rs"
    if not source.is_file():
        raise BenchError(
            f"{folder} has no crates/{CRATE}/benches/{BENCH}.rs: --reference wants a checkout of the Rust reference"
        )
    # Cargo's folder of ours would mix two crates of one name.
    own = {name: value for name, value in environment.items() if name != "CARGO_TARGET_DIR"}
    return programs.build(folder.resolve() / "Cargo.toml", [BENCH], own, "-p", CRATE)[BENCH]


def measure(program: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Run the reference's bench once and return bytes a second by the row's name."""
    with tempfile.TemporaryDirectory(prefix="punktfunk-criterion-") as made:
        kept = Path(made)
        programs.run([str(program), *_OPTIONS], {**environment, "CRITERION_HOME": made}, kept)
        return throughputs(kept)


class _Throughput(BaseModel):
    an_iteration: Annotated[int, Field(alias="Bytes", gt=0, le=1 << 40)]


class _Benchmark(BaseModel):
    full_id: str = Field(max_length=200)
    throughput: _Throughput


class _Sample(BaseModel):
    """Of each sample its nanoseconds, by the clock on the wall, and how many iterations they were for."""

    model_config = ConfigDict(strict=True)

    times: list[Figure] = Field(min_length=1)
    iters: list[Figure] = Field(min_length=1)


def throughputs(kept: Path) -> dict[str, float]:
    """Return bytes a second, by the median of its samples, of each row whose samples criterion kept in a folder."""
    found = {}
    for number, file in enumerate(sorted(kept.glob("**/new/benchmark.json"))):
        if number >= MAX_ROWS:
            raise BenchError(f"the reference's bench has more than {MAX_ROWS} rows")
        row = _read(_Benchmark, file, kept)
        samples = file.with_name("sample.json")
        sample = _read(_Sample, samples, kept)
        if len(sample.times) != len(sample.iters):
            raise _unexpected(samples, kept, f"{len(sample.times)} times of {len(sample.iters)} samples")
        time = spread([time / count for time, count in zip(sample.times, sample.iters, strict=True)])[0]
        throughput = row.throughput.an_iteration * 1e9 / time if time else math.inf
        if not 1 <= throughput <= MOST:
            raise _unexpected(samples, kept, f"{throughput:.3g} bytes a second")
        found[row.full_id] = throughput
    if not found:
        raise BenchError("the reference's bench kept no samples")
    return found


_Model = TypeVar("_Model", bound=BaseModel)


def _read(model: type[_Model], file: Path, kept: Path) -> _Model:
    try:
        return model.model_validate_json(bounded(file, MAX_SAMPLES))
    except OSError as error:
        raise _unexpected(file, kept, error.strerror or str(error)) from error
    except TooLongError as error:
        raise _unexpected(file, kept, f"longer than {MAX_SAMPLES >> 20} MiB") from error
    except ValidationError as error:
        raise _unexpected(file, kept, first_fault(error).removeprefix(": ")) from error


def _unexpected(file: Path, kept: Path, why: str) -> BenchError:
    """Return what to say of a file of criterion's, which is gone when that is read."""
    name = file.relative_to(kept)
    said = (
        f"criterion kept in {name} what is no sample ({why}): is the checkout v0.31.0, with its own Cargo.lock? "
        f"`cargo bench -p {CRATE} --bench {BENCH}` in it leaves the same file in target/criterion"
    )
    return BenchError(printable(said, 500))


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
