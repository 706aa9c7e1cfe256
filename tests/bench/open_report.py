"""Time how long a browser takes to open the report of a run of very many cases. Prints figures, judges nothing.

Without a run, a small one is made: 10,240 cells of two frames each. Chromium opens the page from its file, each time
in a context that has cached nothing, with no network. Wants playwright and chromium.

    python tests/bench/open_report.py [--run reports/RUN] [--repeats 5] [--picture page.png]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.cli import main as lab

SCENARIO = """
name: cells
for:
  code: [gf8, gf16]
  size: [1200 B, 6 kB, 12 kB, 24 kB]
  fec: [0 %, 10 %, 20 %, 50 %]
  burst: [1, 2, 4, 8]
  loss: [0.1 %, 1 %, 5 %, 12 %]
  way: [500 us, 5 ms, 15 ms, 40 ms, 100 ms]
  jitter: [0 ms, 1 ms, 4 ms, 10 ms]
stream: {scheme: "${code}", fec: "${fec}", block: 128}
media: {frames: 2, frame_bytes: "${size}"}
link:
  backend: sim
  down: {delay: "${way}", jitter: "${jitter}", loss: {kind: bursty, rate: "${loss}", burst: "${burst}"}}
  up: {delay: "${way}"}
"""
TIMES = """() => {
  const [page] = performance.getEntriesByType('navigation')
  const paint = performance.getEntriesByName('first-contentful-paint')
  return [document.documentElement.scrollWidth, page.domContentLoadedEventEnd, paint[0].startTime, page.loadEventEnd]
}"""
NAMES = ("DOMContentLoaded", "first contentful paint", "load", "CPU of the page's thread")
WINDOW = {"width": 1280, "height": 900}


def main() -> None:
    """Print the page's size and the times of its opening."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="folder of a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="where a picture of the whole page goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = options.run or _made(Path(scratch))
        page = (run / "report.html").resolve()
        print(f"{page.stat().st_size / 1e6:.2f} MB {page.name} of {run.name}")
        widths, *opened = _opened(page, options.repeats, options.picture)
        print(f"{widths[0]:.0f} px wide in a window of {WINDOW['width']} px")
        for name, times in zip(NAMES, opened, strict=True):
            print(
                f"{name:26} {min(times):7.0f} ms best, {statistics.median(times):7.0f} ms median of {len(times)}"
            )


def _made(folder: Path) -> Path:
    (folder / "cells.yaml").write_text(SCENARIO, encoding="utf-8")
    status = lab(["run", str(folder / "cells.yaml"), "--out", str(folder / "reports")])
    if status not in {0, 1}:  # two frames are too few for some checks
        sys.exit(status)
    (run,) = (folder / "reports").iterdir()
    return run


def _opened(page: Path, repeats: int, picture: Path | None) -> list[list[float]]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium: apt-get install chromium fonts-dejavu-core")
    # Chromium's own sandbox refuses root; what it opens here is our own page.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    found: list[list[float]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*sandbox, "--disable-dev-shm-usage"]
        )
        for number in range(repeats):
            context = browser.new_context(viewport=WINDOW, offline=True)
            view: Any = context.new_page()
            metrics = context.new_cdp_session(view)
            # Of a busy machine the wall clock says little: what the page's main thread computed, it says anyway.
            metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
            view.goto(page.as_uri(), wait_until="load")
            view.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            known = {
                each["name"]: each["value"] for each in metrics.send("Performance.getMetrics")["metrics"]
            }
            found.append([*view.evaluate(TIMES), known["TaskDuration"] * 1e3])
            if picture is not None and number == repeats - 1:
                view.screenshot(path=str(picture), full_page=True)
            context.close()
        browser.close()
    return [list(times) for times in zip(*found, strict=True)]


if __name__ == "__main__":
    main()
