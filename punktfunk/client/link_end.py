"""What the end of a client's control connection means for its session."""

from __future__ import annotations

from punktfunk.client.ending import End
from punktfunk.native.client import LOSS_HINTS, LOSS_SENTENCES
from punktfunk.native.dialect import CloseCode
from punktfunk.native.quic import Closed, PeerLoss

_NO_ERROR = 0
"""Of QUIC itself (RFC 9000 section 20.1): a stack that ends in order without an application's code."""


def end_of(closed: Closed) -> tuple[End, str, str]:
    """Return how a connection's end ends its session, in words, and a hint ("" for none)."""
    if closed.loss is not None:
        end = End.HOST_GONE if closed.loss is PeerLoss.REFUSED else End.HOST_SILENT
        return end, f"the host {LOSS_SENTENCES[closed.loss]}", LOSS_HINTS[closed.loss]
    if closed.by_peer and closed.application and closed.code != CloseCode.ERROR:
        return End.CLOSED, f"host: {closed.sentence}", ""
    if closed.by_peer and not closed.application and closed.code == _NO_ERROR:
        return End.CLOSED, f"host: {closed.sentence}", ""
    if closed.by_peer:
        return End.HOST_FAILED, f"host: {closed.sentence}", "look at the host's log"
    return End.FAILED, closed.sentence, "connect again"
