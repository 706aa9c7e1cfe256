"""``punktfunk doctor HOST``: whether this machine reaches a host, by which addresses and wires, what is in the way."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final

from punktfunk.addresses import resolved_hosts, written
from punktfunk.client.dial import LISTEN_S, RESOLVE_LIMIT_S, host_and_port
from punktfunk.client.gamestream.http import ask
from punktfunk.client.gamestream.known_hosts import PairedHosts
from punktfunk.client.gamestream.reply import ServerInfo
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import CapabilityError, HandshakeError, ProtocolError, StatusError
from punktfunk.findings import Finding
from punktfunk.gamestream.ports import BASE_PORT
from punktfunk.native.client import DEFAULT_PORT, parse_host_port
from punktfunk.native.discovery import MAX_ADDRESSES, FoundHost, discover
from punktfunk.native.port_probe import ProbeAnswer, probe_port
from punktfunk.reachability import unreached_error

ANSWER_LIMIT_S: Final = 4.0
"""How long a port is waited for; the kernel gives a card that is not there up after 3 s."""
_NATIVE, _MOONLIGHT = "punktfunk connect", "Moonlight"


async def examine_host(text: str, state_dir: Path) -> list[Finding]:
    """Look for a host by all that a client has: names, each of its addresses, both wires, what was paired with.

    The first finding is whether it is reached at all, the one essential thing. Raises ``ConfigError`` for what is
    neither name nor address.
    """
    name, port = host_and_port(text)
    found: list[Finding] = []
    announced: FoundHost | None = None
    if name is None:
        address, port = parse_host_port(text)
        addresses = [address]
    else:
        announced, resolved = await asyncio.gather(_announced(name), _resolved(name))
        found += [_name(name, announced, resolved)]
        addresses = list(dict.fromkeys([*(announced.addresses if announced else ()), *resolved]))
        port = port or (announced.port if announced else DEFAULT_PORT)
    wires = await asyncio.gather(*(_wires(address, port) for address in addresses[:MAX_ADDRESSES]))
    rows = [row for pair in wires for row in pair]
    if rows:
        found += [*rows, _pairing(text, addresses, port, announced, state_dir)]
    return [_summary(text, rows, found), *found]


def _summary(text: str, rows: list[Finding], found: list[Finding]) -> Finding:
    reached = list(dict.fromkeys(row.used_by for row in rows if row.ok))
    if reached:
        return Finding(f"host {text}", True, "clients", f"is reached by {' and '.join(reached)}", "", True)
    first = next((row for row in (*rows, *found) if not row.ok), None)
    detail, fix = (first.detail, first.fix) if first is not None else ("has no address", "")
    return Finding(f"host {text}", False, "clients", detail, fix, essential=True)


def _name(name: str, announced: FoundHost | None, resolved: list[str]) -> Finding:
    said = []
    if announced is not None:
        said.append(f"announced by {announced.name}")
    if resolved:
        said.append(f"the name service knows {', '.join(resolved)}")
    return Finding(
        f"name {name}",
        bool(said),
        "dialling by name",
        "; ".join(said) or "nobody announces that name here, and the name service does not know it",
        "punktfunk discover lists the hosts that announce themselves; is it on (punktfunk wake)?",
    )


async def _announced(name: str) -> FoundHost | None:
    try:
        hosts = await discover(LISTEN_S)
    except CapabilityError:
        return None
    wanted = name.removesuffix(".local").casefold()
    return next((host for host in hosts if host.name.casefold() == wanted), None)


async def _resolved(name: str) -> list[str]:
    try:
        async with asyncio.timeout(RESOLVE_LIMIT_S):
            answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError):
        return []
    return resolved_hosts(answers)


async def _wires(address: str, port: int) -> tuple[Finding, Finding]:
    native, moonlight = await asyncio.gather(_native((address, port)), _moonlight((address, BASE_PORT)))
    return native, moonlight


async def _native(place: tuple[str, int]) -> Finding:
    row = f"UDP {written(*place)}"
    try:
        answer: ProbeAnswer = await probe_port(place, ANSWER_LIMIT_S)
        if answer.unreached is None:
            return Finding(row, True, _NATIVE, f"a host answers after {answer.round_trip_ms:.1f} ms")
        error = await asyncio.to_thread(
            unreached_error,
            answer.unreached.kind,
            place,
            "UDP",
            teller=answer.unreached.teller,
            waited_s=ANSWER_LIMIT_S,
        )
    except HandshakeError as refused:
        error = refused
    return Finding(row, False, _NATIVE, error.cause, error.hint)


async def _moonlight(place: tuple[str, int]) -> Finding:
    row = f"TCP {written(*place)}"
    try:
        info = ServerInfo.of(await ask(place, "/serverinfo"))
    except (ProtocolError, StatusError) as error:
        return Finding(row, False, _MOONLIGHT, error.cause, error.hint)
    return Finding(row, True, _MOONLIGHT, f"{info.name} answers")


def _pairing(
    text: str, addresses: list[str], port: int, announced: FoundHost | None, state_dir: Path
) -> Finding:
    native = [
        host
        for host in KnownHosts(state_dir).all()
        if host.place in {(address, port) for address in addresses}
        or (announced is not None and host.fingerprint == announced.fingerprint)
    ]
    moonlight = [host for host in PairedHosts(state_dir).all() if host.address in addresses]
    wires = [wire for wire, hosts in (("native", native), ("GameStream", moonlight)) if hosts]
    card = next((host.mac for host in (*native, *moonlight) if host.mac), "")
    detail = f"paired ({', '.join(wires)})" if wires else "this device has not paired with it"
    if wires:
        detail += (
            f", woken by {card}" if card else ", and its card was not seen, so that nothing here wakes it"
        )
    return Finding("pairing", bool(wires), "connect without a pin, wake", detail, f"punktfunk pair {text}")
