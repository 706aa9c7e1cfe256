"""Figures of desktops that are kept: some taken anew leave the others as they were, and say when those were taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.desktops.rig import report
from tests.desktops.rig.packages import SUITES

SUITE = next(iter(SUITES))
TIMES = ["picture_ms", "our_ms", "compositor_p50_ms", "compositor_p95_ms", "coded_p50_ms"]
COLUMNS = [*TIMES, "complete_p50_ms", "complete_p95_ms", "fps", "streamed_fps", "our_cpu", "compositor_cpu"]


def row(desktop: str, value: int, mode: str = "1280x720@60") -> dict[str, Any]:
    return {"desktop": desktop, "mode": mode, **dict.fromkeys(COLUMNS, value)}


def record(date: str, *rows: dict[str, Any], sway: str = "1.10", mutter: str = "48.7") -> dict[str, Any]:
    return {
        "date": date,
        "machine": "2 CPUs, load 1 before",
        "packages": {"sway": sway, "mutter": mutter},
        "rows": list(rows),
    }


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / report.FIGURES).mkdir(parents=True)
    (tmp_path / report.PAGE).parent.mkdir(parents=True)
    first = record("2026-11-20", row("sway", 1), row("sway", 2, "1920x1080@60"), row("mutter", 3))
    report.keep(tmp_path, SUITE, first, whole=True)
    return tmp_path


def figures(repository: Path) -> dict[str, Any]:
    path = repository / report.FIGURES / f"{SUITE}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_rows_that_were_not_taken_anew_stay_in_their_place(kept: Path) -> None:
    """``--record -k mutter`` left a page with one desktop."""
    report.keep(kept, SUITE, record("2026-11-27", row("mutter", 30), row("labwc", 40)), whole=False)
    found = figures(kept)
    assert [(line["desktop"], line["mode"], line["fps"]) for line in found["rows"]] == [
        ("sway", "1280x720@60", 1),
        ("sway", "1920x1080@60", 2),
        ("mutter", "1280x720@60", 30),
        ("labwc", "1280x720@60", 40),
    ]
    assert found["date"] == "2026-11-27"


def test_a_row_of_another_day_says_when_and_beside_what_it_was_taken(kept: Path) -> None:
    report.keep(kept, SUITE, record("2026-11-27", row("mutter", 30), sway="1.11"), whole=False)
    page = report.write(kept).read_text(encoding="utf-8")
    assert "Taken on 2026-11-27, 2 CPUs, load 1 before. Packages: mutter 48.7, sway 1.11." in page
    was = "Taken on 2026-11-20, 2 CPUs, load 1 before, with sway 1.10: sway 1280x720@60, sway 1920x1080@60."
    assert was in page
    # Once more, of another row: what it says of the oldest stays, and a row that is taken anew says nothing more.
    again = record("2026-11-28", row("sway", 10), sway="1.12", mutter="49")
    report.keep(kept, SUITE, again, whole=False)
    page = report.write(kept).read_text(encoding="utf-8")
    assert (
        "Taken on 2026-11-20, 2 CPUs, load 1 before, with mutter 48.7, sway 1.10: sway 1920x1080@60." in page
    )
    assert (
        "Taken on 2026-11-27, 2 CPUs, load 1 before, with mutter 48.7, sway 1.11: mutter 1280x720@60." in page
    )


def test_rows_of_the_same_day_and_packages_need_no_word(kept: Path) -> None:
    report.keep(kept, SUITE, record("2026-11-20", row("mutter", 30)), whole=False)
    assert not any("taken" in line for line in figures(kept)["rows"])


def test_a_whole_record_replaces_all_that_was_there(kept: Path) -> None:
    report.keep(kept, SUITE, record("2026-11-27", row("mutter", 30)), whole=True)
    assert [line["desktop"] for line in figures(kept)["rows"]] == ["mutter"]
