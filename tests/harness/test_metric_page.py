"""The reference page is what the table says."""

from __future__ import annotations

from pathlib import Path

from harness.analysis import stages
from harness.analysis.definitions import METRICS
from harness.docs import metric_page

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (ROOT / metric_page.PAGE).read_text(encoding="utf-8")
    assert committed == metric_page.page(), "python -m harness.docs.metric_page > docs/reference/metrics.md"


def test_every_metric_can_be_found_on_the_page() -> None:
    page = metric_page.page()
    for name in METRICS:
        assert f"`{name}`" in page or f"`{name.rpartition('_')[0]}`" in page, name
    assert all(f"`{name}`" in page for name in stages.WATERFALL)
