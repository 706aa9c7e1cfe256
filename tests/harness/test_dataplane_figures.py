"""What the bench of the data plane hands to the table of benches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import dataplane
from tests.bench.table import figures, targets


def kept(tmp_path: Path, clean: list[float], rival: list[float]) -> figures.Figures:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(dataplane.figures(clean, rival)))
    wanted = next(target for target in targets.targets() if target.bench == "dataplane")
    row = figures.read(file).find(wanted.row)
    assert row is not None, "the table looks for a row of another name"
    return row


def test_the_table_finds_the_spread_of_the_highest_rate_without_loss(tmp_path: Path) -> None:
    row = kept(tmp_path, [8.1, 7.9, 8.0], [1.3, 1.9])
    assert row.ours == (8.0, 7.9, 8.1)
    assert row.rival == (1.9, 1.9, 1.9)
    assert row.throughput((8.0, 8.0, 8.0), "Gbit/s") == (8.0, 8.0, 8.0)


@pytest.mark.parametrize("rival", [[], [1.9]])
def test_a_link_that_loses_at_every_rate_has_a_reason_and_no_figure(
    tmp_path: Path, rival: list[float]
) -> None:
    row = kept(tmp_path, [], rival)
    assert row.ours is None
    assert "lost" in row.failed
