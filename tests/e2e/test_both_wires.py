"""One process serves punktfunk/1 and GameStream: clients of both at once, in one API, each ended by its pairing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import punktfunk
from punktfunk.client.ending import End
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.host import GameHost
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.errors import CapabilityError, ConfigError, UntrustedPeerError
from punktfunk.gamestream.ports import Ports
from punktfunk.host.gamestream.announcement import instance_name
from punktfunk.host.gamestream.listening import HeldPorts
from punktfunk.host.serve import LOCK_FILE
from punktfunk.media import TestCardSpec
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.store import PairedClient
from punktfunk.units import Bitrate, Mode
from tests.support.gamestream import free_ports
from tests.support.gamestream_host import ask
from tests.support.managed_host import ManagedHost
from tests.support.moonlight import client_keys
from tests.support.waiting import PATIENCE_S, eventually, soon

MODE = Mode(640, 368, 60)
STRANGER = client_keys()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ManagedHost]:
    config = {"source": TestCardSpec(), "mode": None, "encoder": "x264", "encoder_threads": 1}
    # As ``serve --open`` does, which serves both wires.
    made = ManagedHost(tmp_path / "host", gamestream=None, host={**config, "trust": OpenTrust.PRIVATE})
    yield made
    made.end()


async def paired_by_the_api(host: ManagedHost, ports: Ports, folder: Path) -> GameHost:
    """Pair as a person does who types the PIN of the device into the console."""
    Identity.load_or_create(folder, Role.GAMESTREAM_CLIENT)
    asking, pins = GameHost(("127.0.0.1", ports.http), folder), []
    pairing = asyncio.ensure_future(asking.pair("television", pins.append))
    api = host.program()
    await soon(lambda: pins and api.get("/api/v1/pair").json()["pin_pending"], "it waits for its PIN")
    assert api.post("/api/v1/pair/pin", json={"pin": pins[0]}).status_code == 204
    await pairing
    return asking


def paired_natively(host: ManagedHost, folder: Path) -> Path:
    """Put the client of a state folder on the host's list."""
    identity = Identity.load_or_create(folder, Role.CLIENT)
    host.call(
        lambda: host.serving.pairing.trust.add(PairedClient(identity.fingerprint, "laptop", "native", 1))
    )
    return folder


def frames_of(host: ManagedHost, name: str) -> int:
    """Return how many frames the stream of a client has sent so far."""
    [report] = [each for each in host.call(host.serving.host.sessions.live) if each.name == name]
    return report.counters.get("frames_sent", 0)


async def unpaired(api: httpx.Client, path: str, client: GameStreamClient | punktfunk.Client) -> float:
    """Unpair the one client of a list as the console does; return after how many seconds its stream was over."""
    [known] = api.get(path).json()
    began = time.monotonic()
    # In a thread: the client runs in this one.
    answer = await asyncio.to_thread(api.delete, f"{path}/{known['fingerprint']}")
    assert answer.status_code == 204
    summary = await asyncio.wait_for(client.finished(), PATIENCE_S)
    taken = time.monotonic() - began
    assert summary.end is End.CLOSED
    return taken


@pytest.mark.conformance(12)
@pytest.mark.conformance(27)
@pytest.mark.measures
def test_clients_of_both_wires_stream_at_once_and_each_ends_within_a_second_of_its_unpairing(
    host: ManagedHost, tmp_path: Path
) -> None:
    api, ports = host.program(), Ports(host.serving.config.gamestream_port)

    async def run() -> None:
        folder = tmp_path / "television"
        # Open trust is for the other wire.
        with pytest.raises(UntrustedPeerError):
            await GameHost(("127.0.0.1", ports.http), folder).info_as_paired()
        for path in ("/applist", "/launch", "/resume", "/cancel"):
            for keys in (None, STRANGER):
                assert (await asyncio.to_thread(ask, ports, path, secure=True, keys=keys)).status == 401
        assert "Moonlight clients excepted" in "".join(host.serving.banner())
        await paired_by_the_api(host, ports, folder)
        config = GameStreamConfig(
            address=f"127.0.0.1:{ports.http}",
            state_dir=folder,
            mode=MODE,
            bitrate=Bitrate(6_000_000),
            decode=False,
        )
        wish = punktfunk.ClientConfig(
            trust=OpenTrust.LOOPBACK,
            state_dir=paired_natively(host, tmp_path / "laptop"),
            name="laptop",
            mode=MODE,
            decode=False,
        )
        television = GameStreamClient(config)
        async with television, punktfunk.Client(host.native_address, wish) as laptop:
            await soon(lambda: len(api.get("/api/v1/sessions").json()) == 2, "both are listed")
            await soon(lambda: api.get("/api/v1/status").json()["video_streaming"], "Moonlight streams")
            listed = api.get("/api/v1/sessions").json()
            assert sorted(session["client"]["name"] for session in listed) == ["laptop", "television"]
            assert announced_by(host) == ["_punktfunk._udp.local.", "_nvstream._tcp.local."]
            status = api.get("/api/v1/status").json()
            assert (status["audio_streaming"], status["paired_clients"]) == (True, 1)
            assert status["session"] == {"width": 640, "height": 368, "fps": 60}
            assert (status["stream"]["codec"], status["stream"]["packet_size"]) == ("h264", 1392)
            assert api.post("/api/v1/session/idr").status_code in {200, 202, 204}
            frames = frames_of(host, "laptop")
            taken = {"television": await unpaired(api, "/api/v1/clients", television)}
            assert not api.get("/api/v1/status").json()["video_streaming"]
            await soon(lambda: frames_of(host, "laptop") > frames, "the laptop streams on")
            taken["laptop"] = await unpaired(api, "/api/v1/native/clients", laptop)
            assert host.call(host.serving.host.sessions.live) == []
            print("seconds from the request to the end of the stream at its client:", taken)
            assert max(taken.values()) < 1, taken

    asyncio.run(asyncio.wait_for(run(), 120))


def test_readiness_calls_a_host_with_gamestream_alone_ready_once_a_client_is_paired(tmp_path: Path) -> None:
    host = ManagedHost(tmp_path / "host", gamestream=True, native=False, host={"encoder": "x264"})
    try:
        ports = Ports(host.serving.config.gamestream_port)
        report = host.program().get("/api/v1/readiness").json()
        assert report["ready"] is False
        assert "no device is paired yet" in report["headline"]
        [hint] = [check["fix"] for check in report["checks"] if check["name"] == "pairing"]
        assert hint == "punktfunk pin PIN"
        asyncio.run(paired_by_the_api(host, ports, tmp_path / "client"))
        report = host.program().get("/api/v1/readiness").json()
        assert report["ready"] is True, report["headline"]
        assert any(f"TCP port {ports.http}" in check["text"] for check in report["checks"])
    finally:
        host.end()


def announced_by(host: ManagedHost) -> list[str]:
    """Return what the network is told of by a host, as services."""
    return host.call(lambda: [each.kind for each in host.serving._services()])


def test_it_is_said_under_which_names_clients_find_the_host(tmp_path: Path) -> None:
    host = ManagedHost(tmp_path / "host", gamestream=None, gamestream_port=free_ports().base, announce=True)
    try:
        eventually(lambda: host.call(lambda: host.serving.announced), "the announcement")
        report = host.program().get("/api/v1/readiness").json()
        [said] = [check["text"] for check in report["checks"] if check["name"] == "announcement"]
        assert said.startswith("the local network finds this host (multicast DNS) as ")
        for name in (
            f"{socket.gethostname()[:40]} {report['fingerprint'][:8]}",
            instance_name(socket.gethostname()),
        ):
            assert name in said
    finally:
        host.end()


@pytest.mark.conformance(2)
def test_a_port_that_another_program_has_costs_the_moonlight_clients_alone(tmp_path: Path) -> None:
    ports = free_ports()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.rtsp))
        other.listen()
        host = ManagedHost(tmp_path / "host", gamestream=None, gamestream_port=ports.base)
        try:
            said = host.serving.banner()
            assert not [line for line in said if line.startswith("gamestream")]
            [warning] = [line for line in said if line.startswith("WARNING")]
            assert f"TCP port {ports.rtsp} of 127.0.0.1" in warning
            assert "--gamestream-port" in warning
            assert announced_by(host) == ["_punktfunk._udp.local."]
            report = host.program().get("/api/v1/readiness").json()
            checks = {check["name"]: check for check in report["checks"]}
            assert checks["native host"]["ok"]
            assert (checks["moonlight host"]["ok"], checks["moonlight host"]["needed"]) == (False, False)
            assert f"TCP port {ports.rtsp}" in checks["moonlight host"]["text"]
            assert "--gamestream-port" in checks["moonlight host"]["fix"]
            assert str(ports.http) not in checks["firewall"]["text"]
            # Nothing of it is left half open.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports.http), 5)
            assert host.program().get("/api/v1/pair").json()["pin_pending"] is False
        finally:
            host.end()


def test_a_host_without_management_says_that_no_pin_can_be_entered(tmp_path: Path) -> None:
    host = ManagedHost(tmp_path / "host", gamestream=None, management=False)
    try:
        [warning] = [line for line in host.serving.banner() if line.startswith("WARNING")]
        assert "no new Moonlight client can pair" in warning
    finally:
        host.end()


def test_an_identity_that_moonlight_does_not_know_costs_its_clients_alone(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    folder.mkdir(mode=0o700)
    other = Identity.load_or_create(tmp_path, Role.CLIENT)
    for path, place in zip(
        Identity.paths(tmp_path, Role.CLIENT), Identity.paths(folder, Role.HOST), strict=True
    ):
        path.rename(place)
    host = ManagedHost(folder, gamestream=None)
    try:
        assert host.serving.identity.fingerprint == other.fingerprint
        assert "needs an RSA key" in "".join(host.serving.banner())
        HeldPorts("127.0.0.1", Ports(host.serving.config.gamestream_port)).close()
    finally:
        host.end()


@pytest.mark.conformance(2)
@pytest.mark.parametrize("options", [{"gamestream": True}, {"gamestream": None, "native": False}])
def test_what_was_asked_for_and_cannot_be_had_is_told_before_anything_starts(
    options: dict[str, Any], tmp_path: Path
) -> None:
    ports = free_ports()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", ports.control))
        with pytest.raises(CapabilityError, match=f"UDP port {ports.control}") as error:
            ManagedHost(tmp_path / "host", gamestream_port=ports.base, **options)
    assert "--gamestream-port" in error.value.hint
    assert [path.name for path in (tmp_path / "host").iterdir()] == [LOCK_FILE]
    with pytest.raises(ConfigError):
        Ports(1000)
