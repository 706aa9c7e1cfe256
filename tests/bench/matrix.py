"""Time a scenario of a million cases: its matrix, a selection over all names, a case at random. Judges nothing.

Cases are made when they are asked for, so memory is what the axes and the validated parts of sessions take.

    python tests/bench/matrix.py
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.scenario.expand import Cases, expand
from harness.scenario.selection import select

T = TypeVar("T")
SCENARIO = """
name: million
for:
  fec: [0 %, 5 %, 10 %, 15 %, 20 %, 25 %, 30 %, 40 %, 50 %, 70 %]
  loss: [0.1 %, 0.2 %, 0.5 %, 1 %, 2 %, 3 %, 5 %, 8 %, 12 %, 20 %]
  burst: [1, 2, 4, 8, 16]
  code: [gf8, gf16]
  size: [1200 B, 3 kB, 6 kB, 9 kB, 12 kB, 18 kB, 24 kB, 32 kB, 40 kB, 48 kB]
  way: [500 us, 5 ms, 15 ms, 40 ms, 100 ms]
  jitter: [0 ms, 1 ms, 4 ms, 10 ms]
  frames: [100, 200, 300, 400, 500]
stream: {scheme: "${code}", fec: "${fec}", block: 128}
media: {frames: "${frames}", frame_bytes: "${size}"}
link:
  backend: sim
  down: {delay: "${way}", jitter: "${jitter}", loss: {kind: bursty, rate: "${loss}", burst: "${burst}"}}
  up: {delay: "${way}"}
"""
"""Eight axes: 10 x 10 x 5 x 2 x 10 x 5 x 4 x 5 cases."""


def main() -> None:
    """Print CPU seconds and what the process grew by."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "million.yaml"
        file.write_text(SCENARIO, encoding="utf-8")
        before = _peak_mib()
        plan = _timed("expand", lambda: expand(file))
    cases = plan.cases
    print(f"{len(cases)} cases: the process grew by {_peak_mib() - before:.0f} MiB to {_peak_mib():.0f} MiB")
    chosen = _timed("select by name, over all", lambda: _chosen(cases))
    print(f"{chosen} cases chosen; {_peak_mib():.0f} MiB")
    draw = random.Random(1)
    places = [draw.randrange(len(cases)) for _ in range(1000)]
    _timed("make 1,000 cases, drawn at random", lambda: [cases[place] for place in places])


def _chosen(cases: Cases) -> int:
    return len(select(cases, "loss=2 and burst=4"))


def _timed(what: str, do: Callable[[], T]) -> T:
    begin = time.process_time()
    found = do()
    print(f"{what:36} {time.process_time() - begin:7.2f} CPU s", flush=True)
    return found


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
