"""The probe of a link on a machine that has no time for it: a refusal in words, whichever of its packets are late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from harness.link import verify as probing
from harness.link.base import LinkSpecs, LiveLink
from harness.link.judge import Finding, Sample
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

    words = (
        r"the device before the loopback link dropped 1 packets or trains down, and others in each of 3 tries"
    )
    with pytest.raises(LinkUnverifiedError, match=words):
        verify(cast(LiveLink, Dropping()), LinkSpecs({}, {}, 1), budget=SHORT, directions=["down"])


COUNT = 2000
"""Packets of a phase, of which 1 % are two trains."""
SEND = probing._Path.trains


def verified(
    monkeypatch: pytest.MonkeyPatch,
    phases: list[tuple[int, Callable[[np.ndarray], np.ndarray]]],
    spec: dict[str, Any] | None = None,
    *,
    takes_trains: bool = True,
) -> list[Finding]:
    """Verify a link of which each phase has so many trains dropped by the device, beside what the link itself loses.

    That is a function of packets' numbers in the link, which tells which of them are lost.
    """
    left = iter(phases)

    def trains(path: Any, _count: int, _interval_ns: int, segments: int) -> Sample:
        got = SEND(path, COUNT, 20_000, segments)
        assert segments == 10
        assert got.index.tolist() == list(range(COUNT)), "loopback carries all of it, in order"
        path.device_dropped, loses = next(left)
        # Every seventh train, or packet where those are dropped by the packet.
        unit = 10 if takes_trains else 1
        given = ~np.isin(np.arange(COUNT) // unit, 3 + 7 * np.arange(path.device_dropped))
        came = given.copy()
        came[given] = ~loses(np.arange(int(given.sum())))
        return replace(
            got, index=np.flatnonzero(came), sent_ns=got.sent_ns[came], received_ns=got.received_ns[came]
        )

    monkeypatch.setattr(probing._Path, "trains", trains)
    link = Loopback()
    link.takes_trains = takes_trains
    found = verify(cast(LiveLink, link), LinkSpecs(spec or {}, {}, 1), budget=SHORT, directions=["down"])
    assert next(left, None) is None, "a phase was judged before its turn"
    return found.findings["down"]


def nothing(number: np.ndarray) -> np.ndarray:
    return np.zeros(len(number), dtype=bool)


def every(period: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda number: number % period == 0


def test_trains_that_a_device_dropped_before_the_link_are_left_out_of_what_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A packet that never entered the link is no evidence about it: 1 of 2,000 refused a link that lost nothing."""
    dropped, loss, *_ = verified(monkeypatch, [(2, nothing)])
    assert (dropped.name, dropped.found) == ("dropped before the link", "20")
    assert (loss.name, loss.found) == ("loss", "0.000% (0)")
    assert loss.asked.endswith(" of 1980)")
    # What is left stands at the distances at which the link saw it.
    spec = {"loss": {"kind": "periodic", "every": 9, "offset": 0}}
    _, loss, *_ = verified(monkeypatch, [(2, every(9))], spec)
    assert loss.found == "220 of 1980, 0 at other distances"


@pytest.mark.parametrize(
    ("spec", "loses", "words"),
    [
        ({}, every(50), r"loss: asked 0\.000% .* found 2\.020% \(40\)"),
        ({}, lambda number: number // 10 % 50 == 0, r"loss: asked 0\.000% .* found 2\.020% \(40\)"),
        ({"loss": {"kind": "independent", "p": 0.2}}, every(10), r"loss: asked 20\.000% .* found 10\.000%"),
        ({"loss": {"kind": "independent", "p": 0.1}}, lambda number: number // 10 % 10 == 0, "GSO left on"),
        ({"loss": {"kind": "periodic", "every": 9}}, every(10), "loss: asked 1 of every 9"),
    ],
    ids=["unasked loss", "unasked loss of trains", "half the loss", "trains lost whole", "another period"],
)
def test_a_link_that_is_not_as_asked_is_refused_beside_such_drops(
    spec: dict[str, Any],
    loses: Callable[[np.ndarray], np.ndarray],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(LinkUnverifiedError, match=words):
        verified(monkeypatch, [(2, loses)], spec)


def test_a_phase_of_which_too_much_was_dropped_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loss, *_ = verified(monkeypatch, [(3, nothing), (0, nothing)])
    assert loss.name == "loss"
    assert loss.asked.endswith(" of 2000)")
    with pytest.raises(LinkUnverifiedError, match="in each of 3 tries"):
        verified(monkeypatch, [(3, nothing)] * 3)


def test_single_packets_that_were_dropped_are_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a device takes no trains, whose packets they were nobody knows, and a train would look lost in part."""

    def a_train(number: np.ndarray) -> np.ndarray:
        return (number >= 109) & (number < 119)

    for loses in (nothing, a_train):  # the second behind one packet that was dropped: packets 110 to 119
        loss, *_ = verified(monkeypatch, [(1, loses), (0, nothing)], takes_trains=False)
        assert loss.asked.endswith(" of 2000)")


def test_what_is_left_out_are_whole_trains_of_which_nothing_came_and_no_more_than_were_dropped() -> None:
    gone = np.isin(np.arange(COUNT) // 10, [3, 10, 50])
    index = np.flatnonzero(~gone)
    sample = Sample(COUNT, 10, 64, 20_000, index, index, index + 1)
    given = probing._given(sample, 1)
    assert given is not None
    assert given.sent == COUNT - 10
    assert given.index.tolist() == [*range(30), *(n - 10 for n in range(40, COUNT) if not gone[n])]
    assert probing._given(sample, 0) is sample
    # More were dropped than trains are missing: whatever the device counted, it is none of these.
    half = replace(sample, index=np.delete(np.arange(COUNT), 5), sent_ns=index, received_ns=index)
    assert probing._given(half, 1) is None


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
