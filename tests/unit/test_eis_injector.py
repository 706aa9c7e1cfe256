"""What an EIS injector does where there is no libei, and no server."""

from __future__ import annotations

import socket

import pytest

from punktfunk.desktop.inject.eis import EisInjector, require_libei
from punktfunk.errors import CapabilityError


def _without_libei() -> bool:
    try:
        require_libei()
    except CapabilityError:
        return True
    return False


@pytest.mark.skipif(not _without_libei(), reason="libei is installed here; tests/desktops has that part")
def test_a_machine_without_libei_is_told_the_package_and_keeps_no_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with pytest.raises(CapabilityError) as raised:
            EisInjector(theirs.detach())
        ours.settimeout(5)
        assert ours.recv(1) == b""  # the other end is closed
    assert "libei1" in raised.value.hint or "punktfunk[desktop]" in raised.value.hint
