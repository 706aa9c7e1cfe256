"""Hosts by name: what the network or an announcement says of a name, and what it may not decide."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from punktfunk.client import dial
from punktfunk.client.config import ClientConfig
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import ConfigError, HandshakeError, HostNotFoundError
from punktfunk.interfaces import Interface
from punktfunk.native import discovery
from punktfunk.native.discovery import FoundHost
from punktfunk.neighbours import NO_MAC

KNOWN, STRANGER = "ab" * 32, "cd" * 32


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[FoundHost]:
    """What answers on the local network, and a domain name system that knows nobody but localhost."""
    hosts: list[FoundHost] = []

    async def answer(_seconds: float) -> list[FoundHost]:
        return hosts

    real = socket.getaddrinfo

    def resolve(name: Any, *arguments: Any, **named: Any) -> Any:
        if name != "localhost":
            raise socket.gaierror(socket.EAI_NONAME, "nobody")
        return real(name, *arguments, **named)

    monkeypatch.setattr(dial, "discover", answer)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return hosts


def dialled(address: str, **fields: Any) -> ClientConfig:
    return asyncio.run(dial.dialled(ClientConfig(address=address, **fields)))


@pytest.mark.parametrize("literal", ["192.0.2.7", "192.0.2.7:1234", "[2001:db8::7]:1234", "2001:db8::7"])
def test_a_literal_address_is_dialled_as_it_is(literal: str, announced: list[FoundHost]) -> None:
    assert dialled(literal).address == literal


def test_a_name_of_this_machine_is_resolved_with_its_port(announced: list[FoundHost]) -> None:
    assert dialled("localhost:1234").address == "127.0.0.1:1234"
    assert dialled("localhost").address == "127.0.0.1:9777"


def test_an_announced_host_is_found_by_its_name_and_pinned_only_where_it_was_paired_with(
    announced: list[FoundHost], tmp_path: Path
) -> None:
    announced += [
        FoundHost("Living room", ("192.0.2.7",), 9778, KNOWN, True),
        FoundHost("attic", ("2001:db8::7",), 9777, STRANGER, True),
    ]
    # Paired with at another address, which it had before.
    KnownHosts(tmp_path).remember(("192.0.2.99", 9777), KNOWN)
    found = dialled("living ROOM", state_dir=tmp_path)
    assert (found.address, found.pin) == ("192.0.2.7:9778", KNOWN)
    stranger = dialled("attic.local", state_dir=tmp_path)
    assert (stranger.address, stranger.pin) == ("[2001:db8::7]:9777", None)
    chosen = dialled("living room:1", state_dir=tmp_path, pin=STRANGER)
    assert (chosen.address, chosen.pin) == ("192.0.2.7:1", STRANGER)


def test_another_address_of_a_paired_host_is_pinned_by_what_is_announced(
    announced: list[FoundHost], tmp_path: Path
) -> None:
    KnownHosts(tmp_path).remember(("192.0.2.7", 9777), KNOWN)
    announced += [
        FoundHost("den", ("192.0.2.7", "fd00::7", "fe80::7%2"), 9777, KNOWN, True),
        FoundHost("attic", ("192.0.2.8", "fd00::8"), 9777, STRANGER, True),
    ]
    assert dialled("[fd00:0::7]:9778", state_dir=tmp_path).pin == KNOWN
    assert dialled("fd00::8", state_dir=tmp_path).pin is None, "it has not been paired with"
    assert dialled("fd00::9", state_dir=tmp_path).pin is None, "nobody announces it"
    assert dialled("fd00::7", state_dir=tmp_path, pin=STRANGER).pin == STRANGER
    announced.clear()
    assert dialled("192.0.2.7", state_dir=tmp_path).pin is None, "its entry has the pin"


def test_a_link_local_address_that_was_heard_of_by_ipv4_is_of_the_only_link_or_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links = [Interface("eth0", 3, NO_MAC, (), up=True, loopback=False, multicast=True)]
    monkeypatch.setattr(discovery, "speaking_interfaces", lambda: links)
    heard = ["fe80::7", "fd00::7", "192.0.2.7", "fe80::8%5"]
    assert discovery.dialable(heard) == ("192.0.2.7", "fd00::7", "fe80::7%3", "fe80::8%5")
    links.append(Interface("eth1", 4, NO_MAC, (), up=True, loopback=False, multicast=True))
    assert discovery.dialable(heard) == ("192.0.2.7", "fd00::7", "fe80::8%5")


def test_a_name_that_nobody_or_more_than_one_host_has_is_an_error(announced: list[FoundHost]) -> None:
    with pytest.raises(HostNotFoundError, match="no host is called 'attic'"):
        dialled("attic")
    announced += [FoundHost("attic", ("192.0.2.7",), 9777, one, True) for one in (KNOWN, STRANGER)]
    with pytest.raises(HandshakeError, match="2 hosts are called"):
        dialled("attic")
    with pytest.raises(ConfigError, match="is not an IP address"):
        dialled("attic/etc")
