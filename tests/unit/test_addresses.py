"""Where a socket that is bound to one address can be dialled."""

from __future__ import annotations

import pytest

from punktfunk.addresses import reachable_addresses


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
