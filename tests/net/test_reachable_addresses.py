"""Where a socket that is bound to every address can be dialled: what people and networks are told of a host."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import pytest

from harness.network import userns
from punktfunk.interfaces import reachable_addresses


@pytest.mark.parametrize("bind", ["*", "0.0.0.0"])
def test_for_every_address_those_of_this_machine_are_told(bind: str) -> None:
    found = [ipaddress.ip_address(address) for address in reachable_addresses(bind)]
    assert found
    assert bind == "*" or {address.version for address in found} == {4}
    for address in found:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as own:
            own.bind((str(address), 0))


@pytest.mark.parametrize(("bind", "loopback"), [("*", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_in_no_network_it_is_loopback(bind: str, loopback: str, lack: Callable[[str], None]) -> None:
    if why := userns.refusal():
        lack(f"user namespaces: {why}")
    program = f"import json; from punktfunk.interfaces import reachable_addresses as f; print(json.dumps(f({bind!r})))"
    assert userns.python(program) == [loopback]


def test_it_is_the_address_that_a_packet_would_leave_from_and_without_a_route_those_of_its_networks(
    lack: Callable[[str], None],
) -> None:
    if why := userns.refusal():
        lack(f"user namespaces: {why}")
    program = """if True:
        import json
        from pyroute2 import IPRoute
        from punktfunk.interfaces import reachable_addresses
        with IPRoute() as ip:
            ip.link("add", ifname="out", kind="veth", peer="away")
            for name in ("out", "away"):
                ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")
            out = ip.link_lookup(ifname="out")[0]
            ip.addr("add", index=out, address="10.77.0.5", prefixlen=24)
            unrouted = reachable_addresses("*")
            ip.route("add", dst="0.0.0.0/0", oif=out)
            former = reachable_addresses("*")
            ip.addr("add", index=out, address="fd77::5", prefixlen=64, flags=2)
            networks = [reachable_addresses(bind) for bind in ("0.0.0.0", "::")]
            ip.route("add", dst="::/0", oif=out)
        print(json.dumps([unrouted, former, networks, *map(reachable_addresses, ("*", "0.0.0.0", "::"))]))
    """
    v4, v6 = ["10.77.0.5"], ["fd77::5"]
    assert userns.python(program) == [v4, v4, [v4, v6], [*v4, *v6], v4, v6]
