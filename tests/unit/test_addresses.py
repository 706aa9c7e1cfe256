"""Where a socket that is bound to one address can be dialled."""

from __future__ import annotations

import ipaddress

import pytest

from punktfunk import announcement
from punktfunk.addresses import host_of, places_to_bind, require_bindable, socket_address, written
from punktfunk.interfaces import Interface, OwnAddress, reachable_addresses


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::1"),
        ("fe80::7%eth0", "fe80::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_bound_address_is_the_one_to_dial(bind: str, address: str) -> None:
    assert reachable_addresses(bind) == [address]


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("192.0.2.7", ("192.0.2.7", 9), "192.0.2.7:9"),
        ("::ffff:192.0.2.7", ("192.0.2.7", 9), "192.0.2.7:9"),
        ("fd00::7", ("fd00::7", 9, 0, 0), "[fd00::7]:9"),
        ("fe80::7%lo", ("fe80::7", 9, 0, 1), "[fe80::7%1]:9"),
        ("fe80::7%12", ("fe80::7", 9, 0, 12), "[fe80::7%12]:9"),
    ],
)
def test_an_address_and_what_a_socket_makes_of_it_are_the_same(
    text: str, address: tuple[str, int], shown: str
) -> None:
    assert socket_address(text, 9) == address
    assert written(host_of(address), 9) == shown


@pytest.mark.parametrize("text", ["fe80::7%no-such-if", "fe80::7%9999999999"])
def test_an_interface_that_is_not_there_is_an_error_of_the_system(text: str) -> None:
    with pytest.raises(OSError, match="interface"):
        socket_address(text, 9)


def test_every_address_is_of_both_families_by_a_star_alone() -> None:
    assert places_to_bind("*") == [("0.0.0.0", False), ("::", True)]
    for bind in ("0.0.0.0", "::", "127.0.0.1"):
        assert places_to_bind(bind) == [(bind, False)]
    for bind in ("*", "0.0.0.0", "::", "fe80::7%lo"):
        assert require_bindable(bind) == bind
    for text in ("**", "", "den", "0.0.0.0:9777"):
        with pytest.raises(ValueError, match=r"is no address: .* 0\.0\.0\.0 for all of IPv4"):
            require_bindable(text)


def test_networks_hear_of_no_address_by_which_the_host_does_not_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interface(index: int, *texts: str) -> Interface:
        own = tuple(OwnAddress(ipaddress.ip_address(text), 24) for text in texts)
        return Interface(f"lan{index}", index, "", own, up=True, loopback=False, multicast=True)

    found = [interface(2, "10.77.0.1", "fd77::1"), interface(3, "fe80::3")]
    monkeypatch.setattr(announcement, "speaking_interfaces", lambda: found)
    for bind, heard in (
        ("*", {2: ("10.77.0.1", "fd77::1"), 3: ("fe80::3",)}),
        ("0.0.0.0", {2: ("10.77.0.1",)}),
        ("::", {2: ("fd77::1",), 3: ("fe80::3",)}),
    ):
        assert {place.interface: place.addresses for place in announcement._places(bind)} == heard, bind
