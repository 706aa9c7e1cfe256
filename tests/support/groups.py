"""What may run side by side under pytest-xdist, and in which order.

A group is a queue: its tests run one after the other, for they exclude each other. Files of no group are queues of
their own, for their fixtures. What excludes *everything* is marked ``measures`` (:mod:`tests.support.measuring`).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import measuring

GROUPS = {
    "tests/e2e/desktop/": "desktop",
    "tests/web/": "browser",
}
"""Folders whose tests exclude each other: each of them takes most of a CPU for drawing in software. Namespaces and
loopback need no queue: every topology has names of its own, and every port is given by the kernel."""

ALONE = "alone"
"""The queue of all that measures: one after the other when the rest is done."""

POLITENESS = 10
"""Niceness of the process whose tests compute. It gets a tenth of a CPU that somebody else wants, and all of one that
nobody does."""

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


class Queues(LoadScopeScheduling):
    """Give queues to the processes of pytest-xdist: those that wait to all but the last, those that compute to it.

    What computes fills the gaps in which the others wait: the last process is a polite one (:data:`POLITENESS`), and
    helps nobody, for a live test that it ran would starve. When nothing waits any more, all take what is left.
    """

    def _split_scope(self, nodeid: str) -> str:
        return ALONE if nodeid in measuring.those_that_measure(self.config) else group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        chosen = choose(list(self.workqueue), polite=is_polite(node.gateway.id, self.numnodes))
        if chosen is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def choose(queues: list[str], *, polite: bool) -> str | None:
    """Return the queue that is next for a process, of those that nobody has begun; ``None`` ends the process."""
    waiting = [queue for queue in queues if waits(queue)]
    computing = [queue for queue in queues if not waits(queue) and queue != ALONE]
    if polite:
        return next(iter(computing), None)
    return next(iter(waiting + computing[::-1]), ALONE if ALONE in queues else None)


def waits(queue: str) -> bool:
    """Return whether the tests of a queue mostly wait for processes that they have started."""
    return queue in GROUPS.values() or queue.startswith(_WAIT_MOST)


def is_polite(process: str, processes: int) -> bool:
    """Return whether a process (``gw0``, ``gw1``...) is the one that fills gaps; there is none among two."""
    return processes > 2 and process == f"gw{processes - 1}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler; the group marks of pytest-xdist do nothing with this pytest."""
    # Queues begin in the order of the collection (see below), not the ones with the most tests first.
    config.option.loadscopereorder = False
    return Queues(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Make the process that fills gaps a polite one, with all that it starts."""
    here: dict[str, Any] | None = getattr(config, "workerinput", None)
    if here is not None and is_polite(here["workerid"], here["workercount"]):
        os.nice(POLITENESS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order queues by how much they wait, where they run side by side; what runs alone comes at the very end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (measuring.measures(item), rank(item.nodeid)))
        measuring.tell_which_measure(config, items)
