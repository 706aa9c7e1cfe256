"""Where open trust holds, from routing tables as the kernel prints them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from punktfunk.addresses import Address, parse_address, source_of
from punktfunk.errors import UntrustedPeerError
from punktfunk.trust import open_trust
from punktfunk.trust.open_trust import OpenTrust, outward_interfaces, outward_networks, require_open_trust

HEADER = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
LAB_ROUTE = "v0\t00014D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DEFAULT_ROUTE = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
HALF_ROUTE = "tun9\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
REJECT_ROUTE = "*\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\n"
ZEROS = "0" * 32


def _route6(destination: str, prefix: int, flags: int = 1) -> str:
    return f"{destination} {prefix:02x} {ZEROS} 00 {ZEROS} 00000100 00000001 00000000 {flags:08x} v0\n"


def _proc(folder: Path, ipv4: str = "", ipv6: str = "", addresses: str = "") -> Path:
    (folder / "route").write_text(HEADER + ipv4)
    (folder / "ipv6_route").write_text(ipv6)
    (folder / "if_inet6").write_text(addresses)
    return folder


@pytest.fixture
def only_virtual_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_trust, "outward_interfaces", list)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_covered_by_every_open_trust(address: str) -> None:
    require_open_trust(OpenTrust.LOOPBACK, address)
    require_open_trust(OpenTrust.LAB, address)
    with pytest.raises(UntrustedPeerError, match="neither pinned nor paired"):
        require_open_trust(OpenTrust.NONE, address)


@pytest.mark.parametrize("address", ["10.77.0.1", "192.168.1.5", "*", "0.0.0.0", "::", "fd77::1", "8.8.8.8"])
def test_loopback_trust_covers_nothing_else(address: str) -> None:
    with pytest.raises(UntrustedPeerError, match="is for loopback"):
        require_open_trust(OpenTrust.LOOPBACK, address)


@pytest.mark.usefixtures("only_virtual_interfaces")
def test_a_namespace_with_only_private_routes_is_a_lab(tmp_path: Path) -> None:
    ipv6 = (
        _route6("fd770000000000000000000000000000", 64)
        + _route6("fe80000000000000" + "0" * 16, 64)
        + _route6("ff" + "0" * 30, 8)
        + _route6(ZEROS, 0, flags=0x200200)
    )
    proc = _proc(
        tmp_path, LAB_ROUTE + REJECT_ROUTE, ipv6, "fd770000000000000000000000000001 02 40 00 80 v0\n"
    )
    assert outward_networks(proc) == []
    for address in ("10.77.1.2", "*", "0.0.0.0", "fd77::2"):
        require_open_trust(OpenTrust.LAB, address, proc_net=proc)
    with pytest.raises(UntrustedPeerError, match=r"public address 8\.8\.8\.8"):
        require_open_trust(OpenTrust.LAB, "8.8.8.8", proc_net=proc)


@pytest.mark.usefixtures("only_virtual_interfaces")
@pytest.mark.parametrize(
    ("ipv4", "ipv6", "addresses"),
    [
        (DEFAULT_ROUTE, "", ""),
        (LAB_ROUTE + HALF_ROUTE, "", ""),
        (LAB_ROUTE, _route6(ZEROS, 0), ""),
        (LAB_ROUTE, _route6("2a00" + "0" * 28, 32), ""),
        (LAB_ROUTE, "", "2a000000000000000000000000000001 02 40 00 80 v0\n"),
    ],
)
def test_a_way_to_the_world_ends_lab_trust(tmp_path: Path, ipv4: str, ipv6: str, addresses: str) -> None:
    with pytest.raises(UntrustedPeerError, match="leads nowhere"):
        require_open_trust(OpenTrust.LAB, "10.77.1.2", proc_net=_proc(tmp_path, ipv4, ipv6, addresses))


def test_a_network_card_that_is_up_ends_lab_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_trust, "outward_interfaces", lambda: ["the interface eth0 (virtio_net)"])
    with pytest.raises(UntrustedPeerError, match="eth0"):
        require_open_trust(OpenTrust.LAB, "10.77.1.2", proc_net=_proc(tmp_path, LAB_ROUTE))


def test_the_loopback_interface_is_never_a_way_out() -> None:
    assert not [found for found in open_trust.outward_interfaces() if " lo " in found]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.9", "169.254.7.7", "fd00::1", "fe80::1%eth0"],
)
def test_private_trust_takes_peers_of_a_private_network(address: str) -> None:
    require_open_trust(OpenTrust.PRIVATE, address)
    for bound in ("*", "0.0.0.0", "::"):
        require_open_trust(OpenTrust.PRIVATE, bound)


@pytest.mark.parametrize(
    "address", ["198.51.100.1", "8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:4860::1", "::ffff:8.8.8.8"]
)
def test_private_trust_never_holds_for_a_public_address(address: str) -> None:
    with pytest.raises(UntrustedPeerError, match="private networks"):
        require_open_trust(OpenTrust.PRIVATE, address)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("::1%lo", "::1"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("no address", "no address"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(address: str, source: str) -> None:
    assert source_of(address) == source


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("fe80::1", ipaddress.IPv6Address("fe80::1")),
        ("fe80::1%eth0", ipaddress.IPv6Address("fe80::1")),
        ("fe80::1%a%b", ipaddress.IPv6Address("fe80::1")),
        ("::ffff:192.0.2.7%eth0", ipaddress.IPv4Address("192.0.2.7")),
        ("192.0.2.7%eth0", ipaddress.IPv4Address("192.0.2.7")),
    ],
)
def test_the_zone_of_an_address_is_dropped(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.usefixtures("only_virtual_interfaces")
@pytest.mark.parametrize(
    ("kind", "address", "cause", "hint"),
    [
        (
            OpenTrust.NONE,
            "127.0.0.1",
            "127.0.0.1 is neither pinned nor paired",
            "name its fingerprint (a client by --pin, a host by --trust), or pair; punktfunk serve lets clients pair",
        ),
        (
            OpenTrust.LOOPBACK,
            "10.77.1.2",
            "open trust is for loopback and 10.77.1.2 is not",
            "name the peer's fingerprint (a client by --pin, a host by --trust), or pair: punktfunk serve",
        ),
        (
            OpenTrust.PRIVATE,
            "8.8.8.8",
            "open trust is for private networks and 8.8.8.8 is not in one",
            "let the client pair",
        ),
        (
            OpenTrust.LAB,
            "10.77.1.2",
            "lab trust needs a namespace that leads nowhere, this one has a route to 0.0.0.0/0",
            "run inside a network namespace without a default route",
        ),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    tmp_path: Path, kind: OpenTrust, address: str, cause: str, hint: str
) -> None:
    with pytest.raises(UntrustedPeerError) as refused:
        require_open_trust(kind, address, proc_net=_proc(tmp_path, LAB_ROUTE + DEFAULT_ROUTE))
    assert (refused.value.cause, refused.value.hint) == (cause, hint)


def test_every_route_and_address_that_leads_out_is_named_in_hexadecimal_of_the_machines_order(
    tmp_path: Path,
) -> None:
    # A rejecting route, first in its table, hides none after it. Flags and prefixes are hexadecimal: 0x1f3 has no
    # bit of a rejecting route, whatever it is in another base, and 0x30 is 48.
    routes = (
        REJECT_ROUTE
        + "eth0\t807200CB\t00000000\t01F3\t0\t0\t0\t80FFFFFF\t0\t0\t0\n"
        + LAB_ROUTE
        + "eth1\t00000009\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    )
    routes6 = (
        _route6(ZEROS, 0, flags=0x200)
        + _route6("2a00145040000000" + "0" * 16, 0x30, flags=0x1F3)
        + _route6("fd77" + "0" * 28, 64)
        + _route6("2a0a" + "0" * 28, 0x1D, flags=0x80000001)
    )
    addresses = (
        "fe800000000000000000000000000001 02 40 20 80 v0\n2a000000000000000000000000000001 02 40 00 80 v0\n"
    )
    assert outward_networks(_proc(tmp_path, routes, routes6, addresses)) == [
        "a route to 203.0.114.128/25",
        "a route to 9.0.0.0/8",
        "a route to 2a00:1450:4000::/48",
        "a route to 2a0a::/29",
        "the address 2a00::1/128",
    ]


def test_a_kernel_without_a_family_has_no_routes_of_it(tmp_path: Path) -> None:
    assert outward_networks(tmp_path) == []
    (tmp_path / "route").write_text(HEADER + DEFAULT_ROUTE)
    assert outward_networks(tmp_path) == ["a route to 0.0.0.0/0"]


@pytest.mark.usefixtures("only_virtual_interfaces")
def test_loopback_link_local_multicast_and_shared_ranges_stay_inside_and_what_holds_more_does_not(
    tmp_path: Path,
) -> None:
    def route(network: str, mask: str) -> str:
        numbers = [f"{struct.unpack('=I', socket.inet_aton(text))[0]:08X}" for text in (network, mask)]
        return f"v0\t{numbers[0]}\t00000000\t0001\t0\t0\t0\t{numbers[1]}\t0\t0\t0\n"

    inside = (
        route("127.0.0.0", "255.0.0.0")
        + route("169.254.0.0", "255.255.0.0")
        + route("224.0.0.0", "240.0.0.0")
        + route("100.64.0.0", "255.192.0.0")
        + route("100.127.255.255", "255.255.255.255")
    )
    inside6 = _route6(ZEROS[:-1] + "1", 128) + _route6("fe80" + "0" * 28, 10) + _route6("ff02" + "0" * 28, 16)
    proc = _proc(tmp_path, inside, inside6, ZEROS[:-1] + "1 01 80 10 80 lo\n")
    assert outward_networks(proc) == []
    for address in ("100.64.1.1", "169.254.7.7", "fe80::1%v0", "224.0.0.1"):
        require_open_trust(OpenTrust.LAB, address, proc_net=proc)
    with pytest.raises(UntrustedPeerError) as refused:
        require_open_trust(OpenTrust.LAB, "100.128.0.0", proc_net=proc)
    assert (refused.value.cause, refused.value.hint) == (
        "lab trust does not cover the public address 100.128.0.0",
        "",
    )
    beyond = route("100.0.0.0", "255.128.0.0") + route("126.0.0.0", "254.0.0.0")
    assert outward_networks(_proc(tmp_path, beyond, _route6("fe00" + "0" * 28, 9))) == [
        "a route to 100.0.0.0/9",
        "a route to 126.0.0.0/7",
        "a route to fe00::/9",
    ]


UP, BROADCAST, LOOPBACK, RUNNING, MULTICAST = 0x1, 0x2, 0x8, 0x40, 0x1000
CARD = UP | BROADCAST | RUNNING | MULTICAST


@dataclass(frozen=True)
class Interface:
    """As the kernel answers for it; a driver of ``None`` does not say its name."""

    name: str
    flags: int
    driver: bytes | None


def _ask_instead(monkeypatch: pytest.MonkeyPatch, *interfaces: Interface) -> None:
    """Answer what netdevice(7) and linux/ethtool.h ask about interfaces, byte by byte as the kernel would."""
    known = {one.name: one for one in interfaces}

    def ioctl(_query: socket.socket, command: int, request: bytes) -> bytes:
        assert len(request) == 40, "a struct ifreq is a name of 16 bytes and a union of 24"
        found = known[request[:16].rstrip(b"\0").decode()]
        if command == 0x8913:  # SIOCGIFFLAGS
            return request[:16] + struct.pack("=H", found.flags) + b"\xff" * 22
        assert command == 0x8946  # SIOCETHTOOL
        (pointer,) = struct.unpack_from("@P", request, 16)
        assert ctypes.string_at(pointer, 4) == struct.pack("=I", 3)  # ETHTOOL_GDRVINFO
        if found.driver is None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        answer = found.driver.ljust(32, b"\0") + b"6.1.0".ljust(32, b"\0")
        ctypes.memmove(pointer + 4, answer, len(answer))
        return request

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(known, start=1)))


def test_interfaces_that_are_up_and_may_end_in_hardware_are_named_with_their_drivers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _ask_instead(
        monkeypatch,
        Interface("lo", UP | LOOPBACK | RUNNING, None),
        Interface("eth0", BROADCAST | MULTICAST, b"e1000e"),
        Interface("eth1", CARD, b"virtio_net"),
        Interface("v0", CARD, b"veth"),
        Interface("t0", CARD, b"tun"),
        Interface("b0", CARD, b"bridge"),
        Interface("wg0", UP, None),
        Interface("dummy0", UP | BROADCAST, b""),
        Interface("a-name-of-15-ch", CARD | 0x8000, b"d" * 32),
        Interface("odd", CARD, b"n\xfft"),
    )
    assert outward_interfaces() == [
        "the interface eth1 (virtio_net)",
        "the interface wg0 (driver unknown)",
        "the interface dummy0 (driver unknown)",
        f"the interface a-name-of-15-ch ({'d' * 32})",
        "the interface odd (n\ufffdt)",
    ]


def test_a_namespace_of_virtual_interfaces_is_a_lab_and_one_card_that_comes_up_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = _proc(tmp_path, LAB_ROUTE)
    virtual = [Interface("lo", UP | LOOPBACK, None), Interface("v0", CARD, b"veth")]
    _ask_instead(monkeypatch, *virtual, Interface("eth0", CARD & ~UP, b"e1000e"))
    require_open_trust(OpenTrust.LAB, "10.77.1.2", proc_net=proc)
    _ask_instead(monkeypatch, *virtual, Interface("eth0", CARD, b"e1000e"))
    with pytest.raises(UntrustedPeerError, match=r"this one has the interface eth0 \(e1000e\)"):
        require_open_trust(OpenTrust.LAB, "10.77.1.2", proc_net=proc)


@pytest.mark.parametrize(
    ("before", "first", "last", "after"),
    [
        ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
        ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
        ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
        ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
        ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
        (f"fbff:{':'.join(['ffff'] * 7)}", "fc00::", f"fdff:{':'.join(['ffff'] * 7)}", "fe00::"),
        (f"fe7f:{':'.join(['ffff'] * 7)}", "fe80::", f"febf:{':'.join(['ffff'] * 7)}", "fec0::"),
    ],
)
def test_private_trust_holds_from_the_first_to_the_last_address_of_each_range(
    before: str, first: str, last: str, after: str
) -> None:
    for address in (first, last):
        require_open_trust(OpenTrust.PRIVATE, address)
    for address in (before, after):
        with pytest.raises(UntrustedPeerError, match="private networks"):
            require_open_trust(OpenTrust.PRIVATE, address)
