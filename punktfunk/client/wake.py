"""Wake a host that sleeps: a magic packet with the hardware address that was seen when it was last reached.

Six bytes of ones and the address sixteen times over, by UDP to everybody on the link (AMD, Magic Packet Technology).
Network cards look for that themselves while their machine sleeps, so it has to be in the host's own network.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from punktfunk.addresses import socket_address
from punktfunk.client.gamestream.known_hosts import PairedHosts
from punktfunk.client.host_list import ListedHost
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import CapabilityError, HandshakeError, HostNotFoundError, NoAnswerError
from punktfunk.interfaces import Interface, interfaces
from punktfunk.native.port_probe import probe_port
from punktfunk.neighbours import is_mac
from punktfunk.terminal import say

PORT: Final = 9
"""Of the discard service, which nobody has to run for a card to listen."""
TIMES: Final = 3
_PAUSE_S: Final = 0.1
_ASK_S: Final = 2.0
_ALL_NODES: Final = "ff02::1"
_EVERYBODY: Final = "255.255.255.255"
_SO_BINDTOIFINDEX: Final = 62


@dataclass(frozen=True, slots=True)
class Sleeper:
    """What is to be woken, and where it was."""

    mac: str
    address: str = ""
    native_port: int = 0
    """Where its host answers when it is up; 0 where that is not known."""


def magic_packet(mac: str) -> bytes:
    """Return what a card with that hardware address wakes its machine for."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def find_sleeper(text: str, state_dir: Path) -> Sleeper:
    """Return whom a hardware address, an address or a name means, from what is known of paired hosts.

    Raises ``HostNotFoundError`` for what none of them is called, ``CapabilityError`` for one whose card was never seen.
    """
    mac = text.strip().lower().replace("-", ":")
    if is_mac(mac):
        return Sleeper(mac)
    native = [host for host in KnownHosts(state_dir).all() if _meant(text, host, host.called)]
    moonlight = [h for h in PairedHosts(state_dir).all() if _meant(text, h, h.called, h.name)]
    found: list[ListedHost] = [*native, *moonlight]
    if not found:
        raise HostNotFoundError(
            f"no paired host is called {text!r}",
            "name it as it was dialled when it was paired, or by its card: punktfunk wake aa:bb:cc:dd:ee:ff",
        )
    # The latest entry first: a machine that has moved keeps its card.
    card = next((host.mac for host in sorted(found, key=_latest) if host.mac), "")
    if not is_mac(card):
        raise CapabilityError(
            f"the hardware address of {text} is not known: it was never reached from its own network",
            "connect to it once while it is awake and in this network, or name the address (ip link, at the host)",
        )
    latest = min(native, key=_latest) if native else None
    where = latest or min(found, key=_latest)
    return Sleeper(card, where.address, latest.port if latest is not None else 0)


def _meant(text: str, host: ListedHost, *names: str) -> bool:
    wanted = text.strip().casefold().removesuffix(".local")
    written = host.address if ":" not in host.address else f"[{host.address}]"
    addresses = {host.address, written, f"{written}:{host.port}"}
    return wanted in addresses or wanted in {name.casefold().removesuffix(".local") for name in names if name}


def _latest(host: ListedHost) -> int:
    return -host.paired_unix_s


async def wake(sleeper: Sleeper) -> list[str]:
    """Send the magic packet on every interface; return their names. Raises ``CapabilityError`` where there is none."""
    speaking = [interface for interface in interfaces() if interface.in_use]
    packet = magic_packet(sleeper.mac)
    used: dict[str, None] = {}
    for turn in range(TIMES):
        if turn:
            await asyncio.sleep(_PAUSE_S)
        for interface in speaking:
            if sum(_sent(packet, interface, target) for target in _targets(interface)):
                used[interface.name] = None
        if sleeper.address:
            # A router may pass it on to a card whose address it has been told for good.
            _sent(packet, None, sleeper.address)
    if not used:
        raise CapabilityError("no network interface is up to wake a host from", "ip address")
    return list(used)


def _targets(interface: Interface) -> Iterable[str]:
    yield from dict.fromkeys(own.broadcast for own in interface.addresses if own.broadcast is not None)
    if any(own.ip.version == 4 for own in interface.addresses):
        yield _EVERYBODY
    if any(own.ip.version == 6 for own in interface.addresses):
        yield f"{_ALL_NODES}%{interface.index}"


def _sent(packet: bytes, interface: Interface | None, target: str) -> bool:
    try:
        address = socket_address(target, PORT)
        family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            if interface is not None:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                # Without this right (kernels before 5.7) the route decides, rightly so for a network's own broadcast.
                with contextlib.suppress(PermissionError):
                    sender.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, interface.index)
            sender.sendto(packet, address)
    except OSError:  # no such way from here
        return False
    return True


async def wake_host(text: str, state_dir: Path, *, wait_s: float) -> int:
    """Wake a paired host and say by which interfaces; wait for it to answer where ``wait_s`` is more than 0.

    Raises ``NoAnswerError`` when it has not answered by then.
    """
    sleeper = await asyncio.to_thread(find_sleeper, text, state_dir)
    used = await wake(sleeper)
    say(f"magic packet for {sleeper.mac} sent on {', '.join(used)}")
    if not wait_s:
        return 0
    if not sleeper.native_port:
        raise CapabilityError(f"nobody knows where {text} answers when it is up", "leave --wait out")
    waited_s = await _until_up(sleeper, wait_s)
    if waited_s is None:
        raise NoAnswerError(
            f"{text} has not answered within {wait_s:.0f} s",
            "is Wake-on-LAN on in its firmware, and for its card (ethtool CARD | grep Wake)?",
        )
    say(f"{text} answers after {waited_s:.0f} s")
    return 0


async def _until_up(sleeper: Sleeper, wait_s: float) -> float | None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (left := wait_s - (loop.time() - began)) > 0:
        with contextlib.suppress(HandshakeError):  # this machine may have no network yet, either
            if (await probe_port((sleeper.address, sleeper.native_port), min(_ASK_S, left))).answered:
                return loop.time() - began
        # It is sent again: a card that changes over between sleeping and waking misses it.
        await asyncio.sleep(min(_ASK_S / 2, max(0.0, left)))
        await wake(sleeper)
    return None
