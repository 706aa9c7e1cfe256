"""The probe of a link on a machine that has no time for it: a refusal in words, whichever of its packets are late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from harness.link import verify as probing
from harness.link.base import LinkSpecs, LiveLink
from harness.link.judge import Sample
from harness.link.verify import Budget, verify
from harness.network.topology import Address
from punktfunk.errors import LinkUnverifiedError

SHORT = Budget(packets_per_s=20_000, decisions_s=0.02, delay_s=0.1, idle_s=0.02, repeats=0)


class Here:
    """This network namespace."""

    def run(self, function: Callable[[], Any]) -> Any:
        return function()


class Loopback:
    """Loopback as a link: whatever is asked of it, it carries what is sent at once."""

    backend = "loopback"
    host = client = Here()
    host_address = client_address = Address("127.0.0.1", "::1")

    def __init__(self) -> None:
        self.looks = 0

    def restart(self, specs: LinkSpecs) -> None:
        pass

    def counters(self) -> dict[str, dict[str, int]]:
        """Return that everything has been let go of by the next look."""
        self.looks += 1
        return {"down": {"link_in": 1_000_000 * self.looks, "in_flight": 0}}


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (0, r"only 0 of 100 probe packets came through down while the link was ideal"),
        (1, "came through down in time"),
    ],
    ids=["calibration", "delay"],
)
def test_a_phase_of_which_nothing_came_in_time_is_a_refusal_and_no_accident(
    phase: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quantile of no delays at all was an IndexError, on a machine where the pump had no CPU for 150 ms."""
    send, phases = probing._Path.spaced, []

    def starved(path: Any, count: int, interval_ns: int) -> Sample:
        phases.append(count)
        came = send(path, count, interval_ns)
        if len(phases) - 1 != phase:
            return came
        return replace(came, index=came.index[:0], sent_ns=came.sent_ns[:0], received_ns=came.received_ns[:0])

    monkeypatch.setattr(probing._Path, "spaced", starved)
    with pytest.raises(LinkUnverifiedError, match=words):
        verify(cast(LiveLink, Loopback()), LinkSpecs({}, {}, 1), budget=SHORT, directions=["down"])
    assert len(phases) == phase + 1
