"""What may run side by side under pytest-xdist, and in which order.

A group is a queue: its tests run one after the other, for they exclude each other. Files of no group are queues of
their own, for their fixtures. What excludes *everything* is marked ``measures(alone=True)``
(:mod:`tests.support.measuring`).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import measuring

GROUPS = {
    "tests/net/": "links",
    "tests/e2e/desktop/": "desktop",
    "tests/web/": "browser",
    "tests/packaging/": "wheel",
}
"""Folders whose tests exclude each other. An emulated link has a thread that spins for its departures, with real-time
priority where it may: where each test probes or fills one, two of them leave little of two CPUs. Desktops and browsers
draw in software, which takes most of a CPU. A wheel is built by the first test that wants it, for all. Loopback needs
no queue: every port is given by the kernel."""

CASES = "cases"
_CASES = frozenset(
    f"tests/net/test_{name}.py"
    for name in (
        "add_a_peer",
        "command_peers",
        "gamestream_scenario",
        "kills",
        "live",
        "rootless",
        "second_wire",
    )
)
"""Files that run whole cases of the harness, a queue beside that of links: half of the time a case waits for programs
that begin, fall silent or end, and its small stream leaves a link idle. Its proof is repeated where that beside the
other queue took the machine (:mod:`tests.support.proven`). One queue of all of them was longer than everything else."""

_NO_LINK = frozenset(
    f"tests/net/test_{name}.py"
    for name in (
        "default_ports",
        "foreign_process",
        "ipv6",
        "leftovers",
        "network_watch",
        "packetcount",
        "reachable_addresses",
        "several_networks",
        "streams",
        "topology",
        "unreached",
        "wake",
    )
)
"""Files that emulate no link: they wait for sockets and namespaces of their own, beside those that do. The queues of
links and cases are the longest, and a run takes no less time than they. What is not named is in that of links."""

ALONE = "alone"
"""The queue of what would disturb others or could not pass beside them: one after the other when the rest is done."""

POLITENESS = 10
"""Niceness of the process whose tests compute. It gets a tenth of a CPU that somebody else wants, and all of one that
nobody does."""

_WAIT_MOST = (
    CASES,
    "links",
    "desktop",
    "tests/security/test_session_floods.py",
    "tests/e2e/test_deaths.py",
    "tests/e2e/test_soak.py",
    "browser",
    "tests/net/",
    "tests/e2e/",
    "wheel",
    "tests/security/",
)
"""Begun first, the longest queues before the others: their processes wait, while what computes fills the gaps. A long
one that began late would be waited for at the end, by all other workers."""

_YET_COMPUTES = ("tests/e2e/test_soak.py", "tests/security/test_quic_limits.py")


def group_of(nodeid: str) -> str:
    """Return the queue of a test."""
    file = nodeid.partition("::")[0]
    if file in _NO_LINK:
        return file
    if file in _CASES:
        return CASES
    return next((group for folder, group in GROUPS.items() if file.startswith(folder)), file)


def rank(nodeid: str) -> int:
    """Return when its queue begins, 0 first."""
    queue = group_of(nodeid)
    return next((n for n, begins in enumerate(_WAIT_MOST) if queue.startswith(begins)), len(_WAIT_MOST))


class Queues(LoadScopeScheduling):
    """Give queues to the workers of pytest-xdist: those that wait to all but the last, those that compute to it.

    What computes fills the gaps in which the others wait: the last worker is a polite one (:data:`POLITENESS`), and
    helps nobody, for a live test that it ran would starve. When nothing waits any more, all take what is left.
    """

    def remove_node(self, node: Any) -> str | None:
        """Give what a dead worker had not begun to the others, and return the test that it died in.

        Instead of xdist's own, which gives back finished queues too: a worker that gets one never reports, and the
        run waits for it without an end.
        """
        workload = self.assigned_work.pop(node)
        left = [name for queue in workload.values() for name, over in queue.items() if not over]
        for queue, tests in workload.items():
            again = {name: over for name, over in tests.items() if not over and name != left[0]}
            if again:
                self.workqueue[queue] = again
        for other in self.assigned_work:
            self._reschedule(other)
        return left[0] if left else None

    def _split_scope(self, nodeid: str) -> str:
        return ALONE if nodeid in measuring.those_alone(self.config) else group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        # The polite one may be all that is left: there were fewer queues than workers, or the others died.
        others = [one for one in self.nodes if one is not node and not one.shutting_down]
        polite = is_polite(node.gateway.id, self.numnodes) and bool(others)
        chosen = choose(list(self.workqueue), polite=polite)
        if chosen is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def choose(queues: list[str], *, polite: bool) -> str | None:
    """Return the queue that is next for a worker, of those that nobody has begun; ``None`` ends the worker."""
    waiting = [queue for queue in queues if waits(queue)]
    computing = [queue for queue in queues if not waits(queue) and queue != ALONE]
    if polite:
        return next(iter(computing), None)
    return next(iter(waiting + computing[::-1]), ALONE if ALONE in queues else None)


def waits(queue: str) -> bool:
    """Return whether the tests of a queue mostly wait for processes that they have started."""
    return queue in (CASES, *GROUPS.values()) or (
        queue.startswith(_WAIT_MOST) and not queue.startswith(_YET_COMPUTES)
    )


def is_polite(process: str, processes: int) -> bool:
    """Return whether a worker (``gw0``, ``gw1``...) is the one that fills gaps; with two workers there is none."""
    return processes > 2 and process == f"gw{processes - 1}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler; the group marks of pytest-xdist do nothing with this pytest."""
    # Queues begin in the order of the collection (see below), not the ones with the most tests first.
    config.option.loadscopereorder = False
    return Queues(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Make the worker that fills gaps a polite one, with all that it starts."""
    here: dict[str, Any] | None = getattr(config, "workerinput", None)
    if here is not None and is_polite(here["workerid"], here["workercount"]):
        os.nice(POLITENESS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order queues by how much they wait, where they run side by side; what runs alone comes at the very end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (measuring.is_alone(item), rank(item.nodeid)))
        measuring.tell_which_are_alone(config, items)
