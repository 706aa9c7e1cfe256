"""What punktfunk/1's sender does with what a stream asks of it, on a real stream of the core over loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from punktfunk.host.native.sender import NativeSender
from punktfunk.media import AccessUnit, Stamps
from tests.support.stream_spec import SPEC, TRANSPORT

SHARD_BYTES, BLOCK_SHARDS = TRANSPORT.shard_bytes, TRANSPORT.max_block_shards


class Wire:
    """A sender whose packets arrive at a socket of this test."""

    def __init__(self) -> None:
        self.ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in self.ends:
            end.bind(("127.0.0.1", 0))
        self.ends[0].connect(self.ends[1].getsockname())
        self.sender = NativeSender(SPEC, self.ends[0].fileno())

    def packets_of(self, shards: int) -> int:
        """Send a picture of so many shards; return how many packets left for it."""
        unit = AccessUnit(bytes(shards * SHARD_BYTES), key=True, frame=0, pts_ns=0, stamps=Stamps(0, 0, 0, 0))
        return self._sent(lambda: self.sender.submit(unit))

    def packets_of_filler(self, shards: int) -> int:
        return self._sent(lambda: self.sender.fill(bytes(shards * SHARD_BYTES)))

    def _sent(self, send: Callable[[], object]) -> int:
        before = self.sender.stats()["packets_sent"]
        send()
        assert self.sender.flush(30)
        return self.sender.stats()["packets_sent"] - before


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    one.sender.close()
    for end in one.ends:
        end.close()


def test_pictures_are_protected_with_what_was_last_asked_for_and_filler_with_nothing(wire: Wire) -> None:
    assert wire.sender.fec_percent == SPEC.fec_percent == 20
    assert wire.packets_of(10) == 12
    wire.sender.set_fec_percent(50)
    assert wire.sender.fec_percent == 20, "of the last picture"
    assert wire.packets_of_filler(10) == 10
    assert wire.packets_of(10) == 15
    assert wire.sender.fec_percent == 50
    assert wire.packets_of_filler(10) == 10
    assert wire.packets_of(10) == 15, "also after filler, when nothing else is asked for"


def test_a_block_that_old_receivers_would_refuse_goes_out_as_welcome_said(wire: Wire) -> None:
    wire.sender.set_fec_percent(50)
    assert wire.packets_of(BLOCK_SHARDS) == BLOCK_SHARDS + 13
    assert wire.sender.fec_percent == 20
    assert wire.packets_of(10) == 15
    wire.sender.set_fec_percent(10)
    assert wire.packets_of(BLOCK_SHARDS) == BLOCK_SHARDS + 7


def test_what_a_reader_of_the_artefacts_is_told_has_no_key(wire: Wire) -> None:
    assert wire.sender.describe() == {
        "fec_scheme": "gf16",
        "max_block_shards": BLOCK_SHARDS,
        "shard_bytes": SHARD_BYTES,
        "encrypted": False,
    }
