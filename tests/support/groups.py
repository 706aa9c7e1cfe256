"""What may run side by side under pytest-xdist, and in which order.

A group is a queue: its tests run one after the other, for they exclude each other. Files of no group are queues of
their own, for their fixtures. What excludes *everything* is marked ``measures`` (:mod:`tests.support.measuring`).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import measuring

GROUPS = {
    "tests/e2e/desktop/": "desktop",
    "tests/web/": "browser",
}
"""Folders whose tests exclude each other: each of them takes most of a CPU for drawing in software. Namespaces and
loopback need no queue: every topology has names of its own, and every port is given by the kernel."""

ALONE = "alone"
"""The queue of all that measures: one after the other when the rest is done."""

_WAIT_MOST = (
    "tests/e2e/desktop/",
    "tests/net/",
    "tests/e2e/",
    "tests/web/",
    "tests/packaging/",
    "tests/security/",
)
"""Begun first: their processes wait, while what computes fills the gaps."""


def group_of(nodeid: str) -> str:
    """Return the queue of a test."""
    file = nodeid.partition("::")[0]
    return next((group for folder, group in GROUPS.items() if file.startswith(folder)), file)


def rank(nodeid: str) -> int:
    """Return when its queue begins, 0 first."""
    return next((n for n, folder in enumerate(_WAIT_MOST) if nodeid.startswith(folder)), len(_WAIT_MOST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler; the group marks of pytest-xdist do nothing with this pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ALONE if nodeid in measuring.those_that_measure(config) else group_of(nodeid)

    # Queues begin in the order of the collection (see below), not the ones with the most tests first.
    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order queues by how much they wait, where they run side by side; what runs alone comes at the very end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (measuring.measures(item), rank(item.nodeid)))
        measuring.tell_which_measure(config, items)
