"""Where open trust holds, from routing tables as the kernel prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.errors import UntrustedPeerError
from punktfunk.native import trust
from punktfunk.native.trust import OpenTrust, outward_networks, require_open_trust, source_of

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
    monkeypatch.setattr(trust, "outward_interfaces", list)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_covered_by_every_open_trust(address: str) -> None:
    require_open_trust(OpenTrust.LOOPBACK, address)
    require_open_trust(OpenTrust.LAB, address)
    with pytest.raises(UntrustedPeerError, match="neither pinned nor paired"):
        require_open_trust(OpenTrust.NONE, address)


@pytest.mark.parametrize("address", ["10.77.0.1", "192.168.1.5", "0.0.0.0", "::", "fd77::1", "8.8.8.8"])
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
    for address in ("10.77.1.2", "0.0.0.0", "fd77::2"):
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
    monkeypatch.setattr(trust, "outward_interfaces", lambda: ["the interface eth0 (virtio_net)"])
    with pytest.raises(UntrustedPeerError, match="eth0"):
        require_open_trust(OpenTrust.LAB, "10.77.1.2", proc_net=_proc(tmp_path, LAB_ROUTE))


def test_the_loopback_interface_is_never_a_way_out() -> None:
    assert not [found for found in trust.outward_interfaces() if " lo " in found]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.9", "169.254.7.7", "fd00::1", "fe80::1%eth0"],
)
def test_private_trust_takes_peers_of_a_private_network(address: str) -> None:
    require_open_trust(OpenTrust.PRIVATE, address)
    require_open_trust(OpenTrust.PRIVATE, "0.0.0.0")


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
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("no address", "no address"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(address: str, source: str) -> None:
    assert source_of(address) == source
