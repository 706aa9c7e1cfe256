"""Why a host cannot be reached, as each command of a client says it: told apart by real networks."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import punktfunk
from harness.network.namespaces import Namespace, netlink
from harness.network.topology import add_address, add_route, segment_address, topology, write_sysctl
from punktfunk.addresses import written
from punktfunk.client.dial import dialled
from punktfunk.client.gamestream.host import GameHost, resolve
from punktfunk.client.pair import pair
from punktfunk.client.request import dialects, hello_for
from punktfunk.errors import (
    HandshakeError,
    HostNotFoundError,
    HostUnreachableError,
    NoAnswerError,
    PortClosedError,
    PortFilteredError,
)
from punktfunk.native.client import ClientConnection, parse_host_port
from punktfunk.native.port_probe import probe_port
from punktfunk.reachability import Unreached
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from tests.support.inside import Inside
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

PORT = 9777
HOST, PROHIBITED, NOBODY, BEYOND = "10.77.0.1", "10.77.9.1", "10.77.0.99", "203.0.113.1"
Asking = Callable[[str], Awaitable[Any]]


@pytest.fixture(scope="module")
def client() -> Iterator[tuple[Inside, Namespace]]:
    """A client on a link with a host that is also a router, and a host that lets nobody through to a network."""
    with topology("unreached") as made:
        host, client = made.namespace("host"), made.namespace("client")
        made.veth(host, "lan0", client, "lan0")
        add_address(host, "lan0", segment_address(0, 1))
        add_address(client, "lan0", segment_address(0, 2))
        # A card that is not there is given up after 0.2 s instead of 3.
        for family in ("ipv4", "ipv6"):
            write_sysctl(client, f"{family}/neigh/lan0/retrans_time_ms", "60")
            write_sysctl(host, f"{family}/conf/all/forwarding", "1")
        # Two tries within a second are both told why.
        write_sysctl(host, "ipv4/icmp_ratelimit", "0")
        write_sysctl(host, "ipv6/icmp/ratelimit", "0")
        add_route(client, 9, segment_address(0, 1))
        for prohibited in ("10.77.9.0/24", "fd77:9::/64"):
            netlink(host, lambda ip, net=prohibited: ip.route("add", dst=net, type="prohibit"))
        with Inside(client) as inside:
            yield inside, host


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate(Role.CLIENT)


def ways(folder: Path, identity: Identity) -> dict[str, Asking]:
    """Return what a person does to reach a host, by command; of ``connect`` without its worker."""
    config = punktfunk.ClientConfig(state_dir=folder / "native")

    async def connect(address: str) -> None:
        where = parse_host_port(written(address, PORT))
        await ClientConnection.open(where, identity, hello_for(config), dialects(config), pin="ab" * 32)

    async def pair_by_pin(address: str) -> None:
        await pair(written(address, PORT), "1234", config)

    async def moonlight(address: str) -> None:
        await GameHost(await resolve(address), folder / "gamestream").info()

    return {"connect": connect, "pair": pair_by_pin, "gamestream apps": moonlight}


@pytest.mark.parametrize(
    ("address", "error", "by_tcp", "said"),
    [
        (HOST, PortClosedError, PortClosedError, "and nothing listens on that port"),
        ("fd77::1", PortClosedError, PortClosedError, "and nothing listens on that port"),
        (NOBODY, HostUnreachableError, HostUnreachableError, "no machine answers at 10.77.0.99"),
        ("fd77::99", HostUnreachableError, HostUnreachableError, "no machine answers at fd77::99"),
        # Of a refusal by IPv4, TCP is told no more than that there is no way.
        (PROHIBITED, PortFilteredError, HostUnreachableError, "a firewall lets nobody through"),
        ("fd77:9::1", PortFilteredError, PortFilteredError, "a firewall lets nobody through"),
        (BEYOND, HostUnreachableError, HostUnreachableError, f"no route leads from this machine to {BEYOND}"),
    ],
)
def test_every_command_says_what_is_wrong_and_what_to_do(  # noqa: PLR0917 - rows of a table
    client: tuple[Inside, Namespace],
    identity: Identity,
    tmp_path: Path,
    address: str,
    error: type[HandshakeError],
    by_tcp: type[HandshakeError],
    said: str,
) -> None:
    inside, _ = client
    for command, asking in ways(tmp_path, identity).items():
        expected = by_tcp if command.startswith("gamestream") else error
        with pytest.raises(expected) as raised:
            inside.run(_await(asking, address))
        assert type(raised.value) is expected, command
        assert said in raised.value.cause or expected is not error, command
        assert raised.value.hint, command


async def _await(asking: Asking, address: str) -> None:
    await asking(address)


def test_a_machine_that_is_there_and_says_nothing_is_told_from_a_port_that_is_closed(
    client: tuple[Inside, Namespace], identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (
        "punktfunk.native.client",
        "punktfunk.native.pair_client",
        "punktfunk.client.gamestream.http",
    ):
        monkeypatch.setattr(f"{module}.CONNECT_LIMIT_S", 0.4)
    inside, host = client
    with contextlib.ExitStack() as stack:
        for address, family in ((HOST, socket.AF_INET), ("fd77::1", socket.AF_INET6)):
            # A port that drops what comes, as behind a firewall that says nothing.
            silent = stack.enter_context(
                host.run(lambda family=family: socket.socket(family, socket.SOCK_DGRAM))
            )
            silent.bind((address, PORT))
            for command in ("connect", "pair"):
                with pytest.raises(NoAnswerError, match="though its machine is there") as raised:
                    inside.run(_await(ways(tmp_path, identity)[command], address))
                assert f"UDP port {PORT}" in raised.value.hint


def test_a_probe_begins_nothing_and_says_the_same(client: tuple[Inside, Namespace]) -> None:
    inside, _ = client
    for address, unreached in (
        (HOST, Unreached.PORT_CLOSED),
        ("fd77::1", Unreached.PORT_CLOSED),
        (NOBODY, Unreached.NO_MACHINE),
        (PROHIBITED, Unreached.FILTERED),
        ("fd77:9::1", Unreached.FILTERED),
    ):
        answer = inside.run(probe_port((address, PORT), PATIENCE_S / 2))
        assert answer.unreached is not None
        assert answer.unreached.kind is unreached, address
    assert inside.run(probe_port((PROHIBITED, PORT), PATIENCE_S / 2)).unreached.teller == HOST  # type: ignore[union-attr]


def test_a_name_that_nobody_has_is_not_found(client: tuple[Inside, Namespace]) -> None:
    inside, _ = client
    with pytest.raises(HostNotFoundError, match="no host is called 'attic'"):
        inside.run(dialled(punktfunk.ClientConfig(address="attic")))
    with pytest.raises(HostNotFoundError, match=r"attic\.invalid is no host that can be found"):
        inside.run(resolve("attic.invalid"))


def test_of_several_addresses_the_one_that_answers_is_dialled(
    client: tuple[Inside, Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, namespace = client

    async def serve() -> punktfunk.Host:
        config = punktfunk.HostConfig(
            bind="fd77::1", port=PORT, trust=OpenTrust.LAB, source={"kind": "synthetic"}
        )
        return await punktfunk.Host(config).__aenter__()

    async def answers(*_arguments: object, **_named: object) -> list[tuple[Any, ...]]:
        found = [(NOBODY, 0), (HOST, 0), ("fd77::1", 0, 0, 0)]
        return [(0, 0, 0, "", address) for address in found]

    with Inside(namespace) as at_host:
        host = at_host.run(serve())
        monkeypatch.setattr("asyncio.BaseEventLoop.getaddrinfo", answers)
        found = inside.run(dialled(punktfunk.ClientConfig(address="host.example")))
        monkeypatch.undo()
        assert found.address == f"[fd77::1]:{PORT}"
        at_host.run(host.__aexit__(None, None, None))
