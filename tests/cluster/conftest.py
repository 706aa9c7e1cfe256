"""A cluster for each test: a namespace for scheduler and client, one for each worker, a veth between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.network.topology import topology
from tests.cluster.machines import Machines

ASKED = "PUNKTFUNK_TEST_CLUSTER"
"""Set by ``python -m tests.cluster``: these tests take minutes, so no other run collects them."""
collect_ignore_glob = [] if os.environ.get(ASKED) else ["test_*.py"]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Return machines that end with the test, whatever runs on them."""
    with topology("cluster") as made:
        yield Machines(made, tmp_path)
