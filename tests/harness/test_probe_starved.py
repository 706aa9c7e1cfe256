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
    takes_trains = True

    def __init__(self) -> None:
        self.looks = 0

    def restart(self, specs: LinkSpecs) -> None:
        pass

    def counters(self) -> dict[str, dict[str, int]]:
        """Return that everything has been let go of by the next look."""
        self.looks += 1
        return {"down": {"link_in": 1_000_000 * self.looks, "in_flight": 0}}

    def device_drops(self) -> dict[str, int]:
        """Return that the link was given all of it."""
        return {"down": 0, "up": 0}


class Overflowing(Loopback):
    """A link before which a full device drops three of the trains (or packets) of a phase, while it is sent."""

    def __init__(self, *, takes_trains: bool, taken: int) -> None:
        super().__init__()
        self.takes_trains, self.taken = takes_trains, taken
        self.told = 0

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what was taken, more at each look; nobody may go on looking for the rest."""
        self.looks += 1
        assert self.looks < 10, "the rest never comes"
        self.told = min(self.taken, 140 + 15 * self.looks if self.looks > 1 else 0)
        return {"down": {"link_in": 100 + self.told, "in_flight": 0}}

    def device_drops(self) -> dict[str, int]:
        """Return drops that are more from the second look on."""
        return {"down": 7 + (self.looks > 1) * 3, "up": 0}


@pytest.mark.parametrize(("takes_trains", "taken"), [(True, 170), (False, 197)])
def test_what_a_full_device_dropped_is_not_waited_for(takes_trains: bool, taken: int) -> None:
    """It never reaches the link; a phase on a machine that was too slow for its rate took 20 s more for that."""
    link = Overflowing(takes_trains=takes_trains, taken=taken)
    with probing._Path(cast(LiveLink, link), "down", 0.02) as path:
        path.trains(200, 10_000, 10)
    assert (path.device_dropped, link.told) == (3, taken)


def test_loss_before_the_link_is_told_as_such_and_not_put_down_to_the_link() -> None:
    class Dropping(Loopback):
        drops = 0

        def device_drops(self) -> dict[str, int]:
            self.drops += 1
            return {"down": self.drops, "up": 0}

    words = r"the device before the loopback link dropped 1 packets or trains down"
    with pytest.raises(LinkUnverifiedError, match=words):
        verify(cast(LiveLink, Dropping()), LinkSpecs({}, {}, 1), budget=SHORT, directions=["down"])


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
