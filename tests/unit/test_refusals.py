"""What a client says of a connection that was closed before it did what it was made for."""

from __future__ import annotations

import pytest

from punktfunk.errors import HandshakeError, RejectedError, UntrustedPeerError
from punktfunk.native.client import closed_error
from punktfunk.native.quic import PIN_MISMATCH, Closed

HOST = ("127.0.0.1", 9777)


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (0, "", "the host refused and gave no reason"),
        (0, "host stopped", "the host refused: the session ended (host stopped)"),
        (0x60, "", "the host refused: the host is not armed for pairing"),
        (0x7F, "", "the host refused: close code 0x7f"),
    ],
)
def test_a_refusal_is_told_as_far_as_the_host_tells_it(code: int, reason: str, cause: str) -> None:
    error = closed_error(HOST, Closed(code, reason, application=True, by_peer=True))
    assert isinstance(error, RejectedError)
    assert (error.cause, error.close_code) == (cause, code)


def test_hosts_that_give_no_reason_leave_the_hint_to_read_theirs() -> None:
    assert "look at the host's log" in closed_error(HOST, Closed(0, "", application=True, by_peer=True)).hint


def test_a_pin_mismatch_and_other_quic_errors_are_no_refusals() -> None:
    pinned = closed_error(HOST, Closed(PIN_MISMATCH, "", application=False, by_peer=False))
    assert isinstance(pinned, UntrustedPeerError)
    broken = closed_error(HOST, Closed(1, "", application=False, by_peer=True))
    assert isinstance(broken, HandshakeError)
