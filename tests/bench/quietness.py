"""How a live session fares alone and beside other work, and what the harness says of it; needs root.

One session (x264 test card over TUN, no loss) runs in turn alone and beside loops that compute without end: at idle
priority, niced, and as anybody's. Each line is a session: what it suffered, what was counted of the machine, and the
verdict. Nothing is judged, and the machine should do nothing else: what it does stands in the column *others*.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.analysis.results import CaseResult, Quietness
from harness.machine.watch import run_delay_behind_others
from harness.run.case import run_case
from harness.run.context import RunContext
from harness.scenario.expand import expand

SCENARIO: Final = """\
name: quietness
seed: 21
stream: {fec: 20 %}
media: {source: testcard, mode: 1280x720@60, codec: h264, bitrate: 10 Mbit/s, duration: 5 s}
link:
  backend: tun
  down: {delay: 5 ms}
  up: {delay: 5 ms}
"""
LOOP: Final = "while :; do :; done"
CONDITIONS: Final[dict[str, tuple[int, list[str]]]] = {
    "alone": (0, []),
    "2 idle": (2, ["chrt", "--idle", "0"]),
    "2 nice 19": (2, ["nice", "-n", "19"]),
    "1 loop": (1, []),
    "2 loops": (2, []),
}
"""How many loops, and what each is started by."""
COLUMNS: Final = (
    f"{'beside':>10} {'p50 ms':>7} {'p99 ms':>7} {'others':>7} {'yielding':>8} {'own':>5} {'run delay':>9} "
    f"{'behind':>6} {'late':>6} {'p99 ms':>6} {'PSI':>5}  verdict"
)


@contextlib.contextmanager
def beside(count: int, start: list[str]) -> Iterator[None]:
    """Let loops of somebody else compute meanwhile."""
    # A shell starts each and ends: its parent is init, so that it is none of ours.
    script = f"\"$@\" sh -c '{LOOP}' >/dev/null 2>&1 & echo $!"
    pids = [
        int(subprocess.run(["sh", "-c", script, "sh", *start], capture_output=True, check=True).stdout)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def line(name: str, result: CaseResult, machine: Quietness) -> str:
    """Return a session's line of the table."""

    def figure(metric: str) -> str:
        value = result.metrics[metric].value if metric in result.metrics else None
        return "-" if value is None else f"{value:.2f}"

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    delay, behind = share(machine.run_delay), share(run_delay_behind_others(machine))
    verdict = "quiet" if machine.quiet else "busy: " + "; ".join(machine.reasons)
    p99 = "-" if machine.timer_p99_ms is None else f"{machine.timer_p99_ms:.2f}"
    return (
        f"{name:>10} {figure('transport_p50'):>7} {figure('transport_p99'):>7} {machine.others:>7.1%} "
        f"{machine.yielding:>8.1%} {machine.own:>5.0%} {delay:>9} {behind:>6} {share(machine.timers_late):>6} "
        f"{p99:>6} {share(machine.pressure):>5}  {verdict}"
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--only", choices=CONDITIONS, action="append")
    options.add_argument("--json", type=Path, help="keep what was counted, a line a session")
    asked = options.parse_args()
    print(COLUMNS)
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "quietness.yaml"
        file.write_text(SCENARIO, encoding="utf-8")
        [case] = expand(file).cases
        for number in range(asked.repeats):
            for name in asked.only or CONDITIONS:
                folder = Path(made) / f"{number}.{name.replace(' ', '-')}"
                folder.mkdir()
                with beside(*CONDITIONS[name]):
                    result = run_case(case, folder, RunContext(f"q{number}"))
                if result.machine is None:
                    print(f"{name:>10} {result.status}: {result.reason}")
                    continue
                print(line(name, result, result.machine), flush=True)
                if asked.json is not None:
                    with asked.json.open("a", encoding="utf-8") as kept:
                        figures = result.machine.model_dump(exclude={"thieves", "reasons", "remark"})
                        kept.write(json.dumps({"beside": name, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
