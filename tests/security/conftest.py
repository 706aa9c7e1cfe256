"""Hosts with a management API for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.managed_host import ManagedHost


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Callable[..., ManagedHost]]:
    """Start hosts with a management API; all are ended."""
    started: list[ManagedHost] = []

    def start(folder: str = "host", **fields: Any) -> ManagedHost:
        started.append(ManagedHost(tmp_path / folder, **fields))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedHost]:
    """One host for all tests of a module that leave it as it was."""
    host = ManagedHost(tmp_path_factory.mktemp("shared") / "host")
    yield host
    host.end()
