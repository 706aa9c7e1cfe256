"""The report of a run of very many cases: what moves a figure, which cells are shown, and what their commands give."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import runs
from harness.analysis.case_files import read_columns
from harness.cli import main
from harness.report import atlas
from harness.report.text import number
from harness.run import many

CELLS = """
name: cells
for:
  code: [gf8, gf16]
  jitter: [0 ms, 1 ms]
  loss: [0.5 %, 8 %, 30 %]
  size: [1200 B, 9 kB]
  fec: [0 %, 50 %]
stream: {scheme: "${code}", fec: "${fec}", block: 64}
media: {frames: 20, frame_bytes: "${size}"}
link: {backend: sim, down: {delay: 5 ms, jitter: "${jitter}", loss: "${loss}"}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run of 48 cells that keeps a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(many, "EACH_UP_TO", 40)
    (tmp_path / "cells.yaml").write_text(CELLS, encoding="utf-8")
    assert main(["run", "cells.yaml", "-j", "1", "--no-charts", "--out", "out"]) == 0
    (found,) = (tmp_path / "out").iterdir()
    return found


def test_the_worst_cells_are_of_different_corners_and_their_commands_give_the_same_bytes_again(
    folder: Path, tmp_path: Path
) -> None:
    (layer,) = atlas.layers_of(folder)
    strongest = layer.strongest(atlas.RECOVERY)
    assert set(strongest[:3]) == {"loss", "size", "fec"}
    assert layer.marginal("loss", atlas.RECOVERY).tolist() == sorted(
        layer.marginal("loss", atlas.RECOVERY), reverse=True
    )
    farthest, fewest, *_ = atlas.worst_of(layer, folder)
    assert fewest.title == f"Fewest frames complete, the worst of each {', '.join(strongest[:4])}"
    recovery = layer.figures[atlas.RECOVERY]
    assert len(fewest.rows) == len(farthest.rows) == atlas.WORST
    shown = [dict(pair.split(" ", 1) for pair in cell.split(", ")) for cell, *_ in fewest.rows]
    corners = [tuple(cell[axis] for axis in strongest[:4]) for cell in shown]
    assert len(set(corners)) == len(corners)
    assert fewest.rows[0][1] == number(float(np.min(recovery)), "fraction")

    table = read_columns(folder, ["id", "digest"])
    digests = dict(zip(table.column("id").to_pylist(), table.column("digest").to_pylist(), strict=True))
    for turn, (*_, replay) in enumerate((farthest.rows[0], fewest.rows[0])):
        words = shlex.split(replay)
        assert words[:4] == ["python", "-m", "harness", "run"]
        assert main([*words[3:], "--no-charts", "--out", f"again{turn}"]) == 0
        (run,) = (tmp_path / f"again{turn}").iterdir()
        found = runs.load(run)[0]
        (case,) = found.cases
        assert case.digest == digests[case.id]
        (check,) = found.checks
        assert check.expected.endswith("over 1 of 48 cells"), "chosen for what it showed"
