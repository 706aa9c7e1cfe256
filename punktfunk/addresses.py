"""IP addresses: how they are read, whom they stand for, which are private, and at which a socket can be dialled."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

from punktfunk.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""Where a datagram comes from or goes to, as :mod:`socket` says it: IPv4, or IPv6 with flow and zone."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EVERYWHERE = "*"
"""What is bound in place of an address for all of this machine, of IPv4 and of IPv6, as ``ss`` writes it."""
_ZONE_DIGITS = 9
_PRIVATE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def parse_address(text: str) -> Address:
    """Return the address, un-mapping ``::ffff:a.b.c.d``; a zone such as ``%eth0`` is dropped."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def zone_index(text: str) -> int:
    """Return the number of the interface that an address such as ``fe80::7%eth0`` names; 0 where it names none.

    Raises ``OSError`` for an interface that this machine does not have.
    """
    zone = text.partition("%")[2]
    if not zone:
        return 0
    if not zone.isdecimal():
        return socket.if_nametoindex(zone)
    if len(zone) > _ZONE_DIGITS:
        raise OSError(errno.ENODEV, "no such interface")
    return int(zone)


def socket_address(text: str, port: int) -> SocketAddress:
    """Return what a socket is bound or connected to; raise ``OSError`` for a zone that is no interface here."""
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), port
    return str(address), port, 0, zone_index(text)


def host_of(address: SocketAddress) -> str:
    """Return the address of a socket's end as text, with its zone where it has one: ``fe80::7%2``."""
    host = address[0].partition("%")[0]
    return f"{host}%{address[3]}" if len(address) == 4 and address[3] else host


def require_interface(address: Address) -> None:
    """Raise ``ConfigError`` for a link-local address that does not name its interface, or one that is not here."""
    if not isinstance(address, ipaddress.IPv6Address) or (
        address.scope_id is None and not address.is_link_local
    ):
        return
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    plain = str(address).partition("%")[0]
    hint = f"name the interface behind a %, as in {plain}%{(names or ['eth0'])[0]}"
    if names:
        hint += f" (interfaces here: {', '.join(names)})"
    if address.scope_id is None:
        raise ConfigError(f"{address} is the address of a link, and which one is not said", hint)
    try:
        zone_index(str(address))
    except OSError:
        raise ConfigError(f"this machine has no interface {address.scope_id!r}", hint) from None


def resolved_hosts(answers: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the addresses of what ``getaddrinfo`` answers, each once, with their zones."""
    return list(dict.fromkeys(host_of(answer[4]) for answer in answers))


def written(host: str, port: int) -> str:
    """Return an address and a port as people write them: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_wildcard(bind: str) -> bool:
    """Return whether ``bind`` is every address: ``*`` of both families, ``0.0.0.0`` of IPv4, ``::`` of IPv6."""
    return bind == EVERYWHERE or parse_address(bind).is_unspecified


def bound_versions(bind: str) -> tuple[int, ...]:
    """Return the versions of IP, 4 or 6 or both, by which what listens at ``bind`` is reached."""
    return (4, 6) if bind == EVERYWHERE else (parse_address(bind).version,)


def require_bindable(bind: str) -> str:
    """Return ``bind`` where it is ``*`` or an address; raise ``ValueError`` otherwise."""
    if bind != EVERYWHERE:
        try:
            parse_address(bind)
        except ValueError:
            raise ValueError(
                f"{bind!r} is no address: name one of this machine, or * for all, 0.0.0.0 for all of IPv4, "
                ":: for all of IPv6"
            ) from None
    return bind


def places_to_bind(bind: str) -> list[tuple[str, bool]]:
    """Return where to bind a port, and of each whether a machine may lack it: for ``*`` in both families.

    Sockets of IPv6 are to be for IPv6 alone, so that no address comes mapped.
    """
    if bind == EVERYWHERE:
        return [("0.0.0.0", False), ("::", True)]  # noqa: S104 - what the operator asked for
    return [(bind, False)]


def lacks_family(error: OSError) -> bool:
    """Return whether binding failed because this machine does not speak that family, IPv6 switched off included."""
    return error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def source_of(address: str) -> str:
    """Return what whoever comes from ``address`` is limited by: an IPv4 address, or the /64 of an IPv6 one.

    Everybody has 2^64 of the latter. ``::1`` stands for itself, and so does what is no address.
    """
    try:
        parsed = parse_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.IPv6Interface((parsed, 64)).network)


def is_private(address: Address) -> bool:
    """Return whether an address is loopback, link-local or of a private range; shared ranges (100.64/10) are not."""
    if address.is_loopback or address.is_link_local:
        return True
    return any(address.version == net.version and address in net for net in _PRIVATE)
