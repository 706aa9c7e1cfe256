"""Where a socket that is bound to one address can be dialled."""

from __future__ import annotations

import pytest

from punktfunk.addresses import host_of, socket_address, written
from punktfunk.interfaces import reachable_addresses


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
