"""Peers of every kind are one class to whoever runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import records
from harness.peers.loading import live_peers, simulation_of
from harness.peers.peer import LiveHost, LivePeer, Peer, Place
from harness.peers.served_desktop import ServedDesktop
from harness.peers.simulated import Simulation, core_spec
from harness.scenario.model import Session
from harness.scenario.protocols import PROTOCOLS
from punktfunk.core import simulate
from punktfunk.errors import HarnessError

LOSSY = Session.model_validate(
    {
        "media": {"frames": 200, "frame_bytes": "20 kB", "key_interval": 20},
        "stream": {"fec": "5 %"},
        "link": {"backend": "sim", "down": {"loss": "8 %", "delay": "5 ms"}},
    }
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_names_a_host_and_a_client(protocol: str, tmp_path: Path) -> None:
    kinds = live_peers(Session(protocol=protocol))
    place: Any = Place(None, tmp_path)  # type: ignore[arg-type]  # they are made, not started
    host, client = (kind(Session(), place) for kind in kinds)
    assert isinstance(host, LiveHost)
    assert isinstance(client, LivePeer)
    assert (host.role, client.role) == ("host", "client")
    assert host.ports == kinds[0].ports != frozenset()
    assert not host.running
    with pytest.raises(HarnessError, match="the host has not been started"):
        host.wait(0)


@pytest.mark.parametrize("protocol", [name for name, wire in PROTOCOLS.items() if wire.simulation])
def test_a_simulation_is_two_peers_of_which_the_client_starts_the_stream(protocol: str) -> None:
    simulation = simulation_of(protocol)(LOSSY, 3)
    for peer, role in ((simulation.host, "host"), (simulation.client, "client")):
        assert isinstance(peer, Peer)
        assert not isinstance(peer, LivePeer)
        assert peer.role == role
    simulation.host.start()
    with pytest.raises(HarnessError, match="nothing was simulated"):
        simulation.host.stats()
    simulation.client.start()
    simulation.client.ready()
    sent, received = simulation.host.stats().counters, simulation.client.stats().counters
    assert sent["frames_submitted"] == 200 > received["frames_complete"] > 0


def test_the_records_of_both_simulated_ends_are_all_that_the_simulation_tells() -> None:
    simulation = Simulation(LOSSY, 3)
    simulation.host.start()
    simulation.client.start()
    host, client = simulation.host.records(), simulation.client.records()
    assert set(host) & set(client) == {"index"}
    joined = records.join(host, client)
    whole = records.from_core(simulate(json.dumps(core_spec(LOSSY, 3))).records())
    whole["client_status"] = whole.pop("status")
    for name, column in whole.items():
        assert np.array_equal(joined[name], column), name
    assert len(np.unique(joined["client_status"])) > 1, "frames were lost"
    unknown = set(joined) - set(whole)
    assert all(np.all((joined[name] == -1) | np.isnan(joined[name])) for name in unknown)


def test_the_desktop_that_a_person_streams_is_a_peer_too(tmp_path: Path) -> None:
    host = ServedDesktop(tmp_path)
    assert isinstance(host, Peer)
    with pytest.raises(HarnessError, match="has not been started"):
        host.ready()
    host.__exit__()
    assert host.records() is None
