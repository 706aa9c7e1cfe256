"""The host's metrics are named as Prometheus' own guide asks, and their labels cannot grow without bound."""

from __future__ import annotations

import re

import pytest

from punktfunk.mgmt.metrics import FAMILIES, PREFIX, Family

BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_per_second", "_info")
BOUNDED_LABELS = {"session", "client", "stage", "quantile", "event", "version", "abi"}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_metric_is_named_by_the_rules(family: Family) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", PREFIX + family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not re.search(
        r"(_ms|_us|_milliseconds|_kbps|_percent|_permille|_count|_sum|_bucket)(_total)?$", family.name
    )
    assert family.help.endswith(".")
    assert set(family.labels) <= BOUNDED_LABELS
    if family.labels[:1] == ("session",):
        assert family.kind == "gauge", "a counter that goes with its session is no counter"
        assert family.name.endswith((*BASE_UNITS, "_reports"))
