"""The TUN link: as asked it passes its probe, sabotaged it does not."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.link import verify as probing
from harness.link.base import DIRECTIONS, MAX_MEDIA_PORTS, CoreSpec, Direction, LinkSpecs
from harness.link.tun import TunLink
from harness.link.verify import Budget, verify
from harness.link.verify import _Path as ProbePath
from harness.network.topology import TUN_QUEUE_PACKETS, topology
from punktfunk.core._core import probe_send
from punktfunk.errors import HarnessError, LinkUnverifiedError
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.root

LOSSY = {"delay_us": 5000.0, "loss": {"kind": "independent", "p": 0.05}}

AS_ASKED = {
    "nothing": {},
    "loss and delay": LOSSY,
    "bursts": {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.25, "bad": 1.0, "good": 0.0}},
    "every eighth": {"loss": {"kind": "periodic", "every": 8, "offset": 0}},
    "jitter": {"delay_us": 20_000.0, "jitter_us": 2000.0, "jitter_distribution": "normal"},
    "rate": {"rate_kbps": 20_000, "queue_packets": 100, "delay_us": 2000.0},
    "duplicates and corruption": {"duplicate": 0.03, "corrupt": 0.03, "corrupt_mode": "payload"},
    "reordering": {"delay_us": 3000.0, "reorder": {"p": 0.05, "extra_us": 3000.0}},
    "checksum": {"corrupt": 0.05, "corrupt_mode": "checksum"},
}


@pytest.mark.measures  # a probe that stalls and catches up overflows a short queue, and the link is blamed
@pytest.mark.parametrize("spec", AS_ASKED.values(), ids=AS_ASKED)
def test_a_link_that_is_as_asked_passes(spec: dict[str, object], tmp_path: Path) -> None:
    with topology("tun-ok") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:
        found = verify(link, LinkSpecs(spec, {}, seed=11)).findings
    assert all(one.ok for findings in found.values() for one in findings)
    assert {one.name for one in found["down"]} >= {"loss", "duplicates", "delay"}


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_pump_that_gets_no_time_is_waited_for_and_its_link_not_blamed(
    way: Direction, tmp_path: Path
) -> None:
    with topology("tun-late") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:
        link.restart(LinkSpecs({}, {}, 17))
        with ProbePath(link, way, 0.1) as path:
            moments = [
                threading.Timer(after_s, os.kill, (link.pump.pid, what))
                for after_s, what in ((0.1, signal.SIGSTOP), (1.0, signal.SIGCONT))
            ]
            for moment in moments:
                moment.start()
            try:
                got = path.spaced(400, 1_000_000)
            finally:
                for moment in moments:
                    moment.join()
    assert sorted(got.index) == list(range(400))


@pytest.mark.timeout(60)
def test_a_probe_ends_also_where_the_device_dropped_what_the_pump_had_no_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_LET_GO_S", 3600.0)
    count = TUN_QUEUE_PACKETS + 500
    with topology("tun-full") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:

        def sent_while_it_is_stopped(*arguments: Any, **options: Any) -> dict[str, Any]:
            os.kill(link.pump.pid, signal.SIGSTOP)
            try:
                return probe_send(*arguments, **options)
            finally:
                os.kill(link.pump.pid, signal.SIGCONT)

        monkeypatch.setattr(probing, "probe_send", sent_while_it_is_stopped)
        link.restart(LinkSpecs({}, {}, 18))
        dropped = 0
        # A stop is delivered when a thread of the pump next runs: it may have read meanwhile.
        for _ in range(3):
            with ProbePath(link, "down", 0.1) as path:
                got = path.spaced(count, 10_000)
                dropped = path.device_dropped
                assert len(got.index) == count - dropped
            if dropped:
                break
        assert dropped > 0


@pytest.mark.measures  # a busy path is late by itself, and its delays and their spread excuse those of the link
@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (LOSSY | {"loss": {"kind": "independent", "p": 0.025}}, "loss"),
        (LOSSY | {"delay_us": 8000.0}, "delay"),
        (LOSSY | {"duplicate": 0.01}, "duplicates"),
    ],
    ids=["half the loss", "wrong delay", "unasked duplicates"],
)
def test_a_sabotaged_link_is_refused_with_the_reason(
    actual: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with topology("tun-bad") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:
        with pytest.raises(LinkUnverifiedError, match=f"down: {reason}: asked") as refused:
            verify(link, LinkSpecs(LOSSY, {}, seed=12), LinkSpecs(actual, {}, seed=12))
        assert refused.value.exit_code == 5


ASKED = {
    "delay_us": 20_000.0,
    "jitter_us": 2_000.0,
    "rate_kbps": 20_000,
    "queue_packets": 200,
    "corrupt": 0.05,
    "corrupt_mode": "payload",
}
WRONG = {
    "rate": ASKED | {"rate_kbps": 15_000},
    "jitter": ASKED | {"jitter_us": 800.0},
    "corrupted payloads": ASKED | {"corrupt": 0.02},
    "reordered": ASKED | {"reorder": {"p": 0.05, "extra_us": 8_000.0}},
}
ONCE = Budget(repeats=0)


@pytest.mark.measures
@pytest.mark.parametrize("down", [("rate", "corrupted payloads"), ("jitter", "reordered")], ids=" and ".join)
def test_rate_jitter_corruption_and_order_are_refused_in_the_direction_in_which_they_are_wrong(
    down: tuple[str, str], tmp_path: Path
) -> None:
    up = tuple(name for name in WRONG if name not in down)

    def spoilt(names: tuple[str, ...]) -> CoreSpec:
        changed: CoreSpec = dict(ASKED)
        for name in names:
            changed |= {key: value for key, value in WRONG[name].items() if ASKED.get(key) != value}
        return changed

    with (
        topology("tun-both") as made,
        TunLink(made, tmp_path, media_ports=[5000]) as link,
        pytest.raises(LinkUnverifiedError) as refused,
    ):
        verify(link, LinkSpecs(ASKED, ASKED, 13), LinkSpecs(spoilt(down), spoilt(up), 13), budget=ONCE)
    said = refused.value.cause
    for way, names in (("down", down), ("up", up)):
        for name in names:
            assert f"{way}: {name}: asked" in said
    # Each way is judged by its own packets; times are not compared, a busy machine may spoil them both ways.
    right = "up" if "corrupted payloads" in down else "down"
    assert f"{right}: corrupted payloads: asked" not in said


@pytest.mark.measures
@pytest.mark.parametrize("delay_us", [30_000.0, 60_000.0], ids=["proven", "refused"])
def test_the_link_is_left_ideal_and_with_fresh_counters_by_its_probe(delay_us: float, tmp_path: Path) -> None:
    spec: CoreSpec = {"delay_us": 30_000.0, "loss": {"kind": "independent", "p": 0.3}}
    actual = spec | {"delay_us": delay_us}
    with topology("tun-left") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:
        asked, really = LinkSpecs(spec, spec, 14), LinkSpecs(actual, actual, 14)
        if actual == spec:
            verify(link, asked, really)
        else:
            with pytest.raises(LinkUnverifiedError, match=r"delay: asked 30\.000 ms"):
                verify(link, asked, really, budget=ONCE)
        assert [link.counters()[way]["link_in"] for way in DIRECTIONS] == [0, 0]
        for way in DIRECTIONS:
            with ProbePath(link, way, 0.5) as path:
                got = path.spaced(100, 1_000_000)
            assert len(got.index) == 100, "nothing is lost"
            assert np.median(got.delay_us) < 25_000, "nothing is held for the 30 ms that were asked for"
            assert link.counters()[way]["link_in"] == 100


@pytest.mark.parametrize("way", DIRECTIONS)
def test_what_the_probes_own_socket_drops_is_not_called_loss_of_the_link(
    way: Direction, tmp_path: Path
) -> None:
    with topology("tun-own") as made, TunLink(made, tmp_path, media_ports=[5000]) as link:
        link.restart(LinkSpecs({}, {}, 15))
        with ProbePath(link, way, 0.2) as path:
            path._sender.shutdown(socket.SHUT_WR)
            with pytest.raises(HarnessError, match="own socket dropped 40 of 40 packets"):
                path.trains(40, 100_000, 10)


VIDEO, SOUND, CONTROL = 47_998, 48_000, 47_999
SENT = {VIDEO: 200, SOUND: 150, CONTROL: 100}
HALF_LOST: CoreSpec = {"loss": {"kind": "independent", "p": 0.5}}


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_link_impairs_every_port_and_counts_those_of_the_stream_apart_from_the_others(
    way: Direction, tmp_path: Path
) -> None:
    with topology("tun-ports") as made, TunLink(made, tmp_path, media_ports=[VIDEO, SOUND]) as link:
        down = way == "down"
        link.restart(LinkSpecs(HALF_LOST if down else {}, {} if down else HALF_LOST, 16))
        arrived = exchange(link, way, SENT)
        counts = link.counters()[way]
    for port, sent in SENT.items():
        assert 0.3 * sent < arrived[port] < 0.7 * sent, port
    assert counts["link_in"] == sum(SENT.values())
    assert counts["other_in"] == SENT[CONTROL]
    assert counts["delivered"] == sum(arrived.values())
    assert counts["other_delivered"] == arrived[CONTROL]


def until_decided(link: TunLink, way: Direction, sent: int) -> None:
    def decided() -> bool:
        counts = link.counters()[way]
        return counts["dropped_total"] + counts["delivered"] == sent

    eventually(decided, "every datagram was lost or delivered")


def exchange(link: TunLink, way: Direction, sent: dict[int, int]) -> dict[int, int]:
    """Send so many datagrams from (down) or to (up) each port of the host and return how many arrived."""
    arrived = {}
    for port, count in sent.items():
        with (
            link.host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as at_host,
            link.client.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as at_client,
        ):
            at_host.bind((link.host_address.ipv4, port))
            # The client's own ports may have the numbers of the host's.
            at_client.bind((link.client_address.ipv4, VIDEO + SOUND - port if port != CONTROL else VIDEO))
            near, far = (at_host, at_client) if way == "down" else (at_client, at_host)
            near.connect(far.getsockname())
            before = link.counters()[way]
            for _ in range(count):
                near.send(bytes(100))
            until_decided(link, way, before["link_in"] + count)
            expected = link.counters()[way]["delivered"] - before["delivered"]
            far.settimeout(PATIENCE_S)
            arrived[port] = sum(len(far.recv(1000)) == 100 for _ in range(expected))
    return arrived


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ([], "not 0"),
        (range(1, MAX_MEDIA_PORTS + 2), "not 65"),
        ([0], "0 is no UDP port"),
        ([5, 65_536], "65536 is"),
    ],
    ids=["none", "too many", "zero", "too high"],
)
def test_a_link_refuses_ports_that_it_cannot_tell_apart(ports: list[int], said: str, tmp_path: Path) -> None:
    with topology("tun-none") as made, pytest.raises(HarnessError, match=said):
        TunLink(made, tmp_path, media_ports=ports)
