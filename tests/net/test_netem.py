"""The netem link, where the kernel has sch_netem: in the virtual machine of ``nox -s netem-vm``, else skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.link.base import DIRECTIONS, LinkSpecs
from harness.link.netem import NetemLink, capability
from harness.link.verify import Budget, verify
from harness.network.pace import EMULATED
from harness.network.topology import topology
from punktfunk.errors import CapabilityError, LinkUnverifiedError

pytestmark = [pytest.mark.root, pytest.mark.timeout(200)]

BUDGET = Budget.emulated() if EMULATED else Budget()
ONCE = replace(BUDGET, repeats=0)
"""For links that are wrong on purpose: they are wrong the second time too."""

LOSSY = {"delay_us": 20_000.0, "loss": {"kind": "independent", "p": 0.1}}

AS_ASKED = {
    "loss and delay": LOSSY,
    "bursts": {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.25, "bad": 1.0, "good": 0.0}},
    "jitter": {"delay_us": 20_000.0, "jitter_us": 3000.0, "jitter_distribution": "normal"},
    # Slow, so that the least token bucket, two frames, lasts for longer than an emulated processor stalls.
    "rate": {"rate_kbps": 2_000, "queue_packets": 50, "delay_us": 5000.0},
    "duplicates and corruption": {"duplicate": 0.05, "corrupt": 0.05, "corrupt_mode": "checksum"},
    "reordering": {"delay_us": 10_000.0, "reorder": {"p": 0.1, "extra_us": 20_000.0}},
    "heavy-tailed jitter": {"delay_us": 5_000.0, "jitter_us": 2000.0, "jitter_distribution": "pareto"},
}


@pytest.fixture(autouse=True, scope="module")
def _netem() -> None:
    found = capability()
    if not found.ok:
        assert not EMULATED, found.reason
        pytest.skip(f"{found.reason}; proven by nox -s netem-vm")


@pytest.mark.parametrize("spec", AS_ASKED.values(), ids=AS_ASKED)
def test_a_link_that_is_as_asked_passes(spec: dict[str, object], tmp_path: Path) -> None:
    with topology("netem-ok") as made, NetemLink(made, tmp_path, media_ports=[5000]) as link:
        # One test proves the way back; it is the same code on another device.
        ways = DIRECTIONS if spec is LOSSY else DIRECTIONS[:1]
        found = verify(link, LinkSpecs(spec, {}, seed=1), budget=BUDGET, directions=ways).findings
    for direction, findings in found.items():
        for one in findings:
            print(f"{direction}: {one.name}: asked {one.asked}, found {one.found}")
    assert all(one.ok for findings in found.values() for one in findings)


def test_segmentation_left_on_is_noticed(tmp_path: Path) -> None:
    with (
        topology("netem-gso") as made,
        NetemLink(made, tmp_path, media_ports=[5000], segmentation=True) as link,
        pytest.raises(LinkUnverifiedError, match="GSO left on: trains are lost whole"),
    ):
        verify(link, LinkSpecs(LOSSY, {}, seed=1), budget=ONCE, directions=DIRECTIONS[:1])


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (LOSSY | {"loss": {"kind": "independent", "p": 0.05}}, "loss"),
        (LOSSY | {"delay_us": 30_000.0}, "delay"),
    ],
    ids=["half the loss", "wrong delay"],
)
def test_a_sabotaged_link_is_refused_with_the_reason(
    actual: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with (
        topology("netem-bad") as made,
        NetemLink(made, tmp_path, media_ports=[5000]) as link,
        pytest.raises(LinkUnverifiedError, match=f"down: {reason}: asked"),
    ):
        verify(
            link,
            LinkSpecs(LOSSY, {}, seed=1),
            LinkSpecs(actual, {}, seed=1),
            budget=ONCE,
            directions=DIRECTIONS[:1],
        )


def test_counters_balance_and_tell_the_streams_ports_from_the_others(tmp_path: Path) -> None:
    import socket
    import time

    video, sound, control = 47_998, 48_000, 47_999
    spec = {"delay_us": 2000.0, "loss": {"kind": "independent", "p": 0.2}}
    with topology("netem-count") as made, NetemLink(made, tmp_path, media_ports=[video, sound]) as link:
        link.restart(LinkSpecs(spec, {}, seed=1))
        with (
            link.client.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sink,
            link.host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one,
            link.host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as two,
            link.host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other,
        ):
            # The client's own port may have the number of a media port of the host's.
            sink.bind((link.client_address.ipv4, video))
            senders = {video: one, sound: two, control: other}
            for port, sender in senders.items():
                sender.bind((link.host_address.ipv4, port))
            for number in range(600):
                sender = senders[control if number % 6 == 0 else sound if number % 6 < 3 else video]
                sender.sendto(bytes(200), sink.getsockname())
            deadline = time.monotonic() + 10
            while (down := link.counters()["down"])["in_flight"] and time.monotonic() < deadline:
                time.sleep(0.05)
    assert down["link_in"] == 600
    assert down["other_in"] == 100
    assert 0 < down["dropped_total"] < 300
    assert down["delivered"] == 600 - down["dropped_total"]
    assert 40 < down["other_delivered"] < 100


def test_loss_that_is_halved_while_a_session_runs_is_found_in_the_kernels_counters(tmp_path: Path) -> None:
    import socket

    from harness.link.watching import Watching

    port = 47_998
    spec = {"loss": {"kind": "independent", "p": 0.2}}
    asked, watching = LinkSpecs(spec, {}, seed=1), Watching()
    with topology("netem-watch") as made, NetemLink(made, tmp_path, media_ports=[port]) as link:
        link.restart(asked)
        with link.host.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.bind((link.host_address.ipv4, port))

            def window() -> None:
                for _ in range(500):
                    sender.sendto(bytes(200), (link.client_address.ipv4, 9))
                watching.add(link.windows())

            link.watch(asked)
            watching.add(link.windows())
            for _ in range(4):
                window()
            watching.check("netem")
            assert sum(tally.packets for one in watching.windows for tally in one.loss) >= 2000
            link.set_spec("down", {"loss": {"kind": "independent", "p": 0.1}})
            for _ in range(4):
                window()
    with pytest.raises(
        LinkUnverifiedError, match=r"down: loss from .* asked 20\.000% .*, found (9|10|11|12)\."
    ):
        watching.check("netem")


def test_what_netem_cannot_do_is_named(tmp_path: Path) -> None:
    with topology("netem-cannot") as made, NetemLink(made, tmp_path, media_ports=[5000]) as link:
        for spec in (
            {"loss": {"kind": "periodic", "every": 8, "offset": 0}},
            {"corrupt": 0.1, "corrupt_mode": "payload"},
        ):
            with pytest.raises(CapabilityError, match="netem"):
                link.restart(LinkSpecs(spec, {}, seed=1))


SESSION = """\
protocol: gamestream
stream: {fec: 30 %}
media: {source: testcard, mode: 480x96@15, duration: 4 s, bitrate: 1 Mbit/s}
link: {backend: netem, down: {delay: 5 ms, loss: 10 %}, up: {delay: 5 ms}}
expect: [strip_agreement == 100 %]
"""


@pytest.mark.timeout(200)
def test_a_gamestream_session_over_it_is_judged_like_any_other(tmp_path: Path) -> None:
    # An emulated processor takes seconds to import what runs a case; the tests above do without. FFmpeg's libraries
    # come over the share once and stay in memory, for the workers that are given nine seconds to load them.
    import av  # noqa: F401

    from harness.analysis.results import Status
    from harness.run.case import run_case
    from harness.run.context import RunContext
    from harness.scenario.expand import expand

    file = tmp_path / "moonlight.yaml"
    file.write_text(SESSION, encoding="utf-8")
    [case] = expand(file).cases
    place = tmp_path / "case"
    place.mkdir()
    result = run_case(case, place, RunContext(run_id="moon"))
    assert result.status is Status.PASSED, result.reason
    assert (result.protocol, result.backend) == ("gamestream", "netem")
    ledger = result.ledgers["host_to_client"]
    assert not any(ledger.balances.values())
    # Sound, control and RTSP meet the same netem; they are none of the stream's packets.
    assert ledger.counts["other_in"] > 0
    assert ledger.counts["dropped_total"] > 0
    assert result.metrics["frames_submitted"].value == 60
    assert result.theory["p_value"] > 1e-4
    assert {check.name for check in result.checks} >= {
        "every complete frame whose references are complete decodes",
        "recovery is requested when a frame is lost",
        "a key frame follows every lost frame",
    }
