"""A fuzz target: a parser, what must hold of whatever it is fed, and inputs that get past its first checks."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from punktfunk.errors import StatusError

MAX_CPU_NS = 500_000_000
"""What one input may cost; the dearest, a signature by an RSA key, takes some 2 ms."""
MAX_GROWTH_KIB = 64 << 10
"""By how much one input may raise the most memory that the process ever had."""


@dataclass(frozen=True)
class Target:
    """``run`` returns whether the input was understood, and raises whatever must not be."""

    name: str
    run: Callable[[bytes], bool]
    seeds: Callable[[], list[bytes]]
    """Each is understood."""
    words: tuple[bytes, ...] = ()
    """What mutation may put in: names and values that are hard to guess."""
    longest: int = 2048

    def check(self, data: bytes) -> bool:
        """Run one input within its bounds of time and memory."""
        began, had = time.thread_time_ns(), _most_memory_kib()
        understood = self.run(data)
        spent_ns, grown = time.thread_time_ns() - began, _most_memory_kib() - had
        assert spent_ns < MAX_CPU_NS, f"{len(data)} bytes cost {spent_ns / 1e6:.0f} ms of CPU"
        assert grown < MAX_GROWTH_KIB, f"{len(data)} bytes took {grown} KiB of memory"
        return understood


def refused(error: StatusError, *statuses: int) -> bool:
    """Return False, for an input that is refused in one of the ways that it may be."""
    assert error.status in statuses, error
    return False


def _most_memory_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def pieces(data: bytes) -> Iterator[bytes]:
    """Take a stream apart: a length byte before each piece, 0 for all that is left."""
    while data:
        length, data = data[0] or len(data), data[1:]
        yield data[:length]
        data = data[length:]


def whole(data: bytes) -> bytes:
    """Return an input that is one piece."""
    return b"\0" + data


def chunks(data: bytes) -> Iterator[bytes]:
    """Take a conversation apart: a little-endian length of two bytes before each message, the last one cut as it is."""
    while data:
        length, data = int.from_bytes(data[:2], "little"), data[2:]
        yield data[:length]
        data = data[length:]


def chunked(*messages: bytes) -> bytes:
    """Return a conversation."""
    return b"".join(len(message).to_bytes(2, "little") + message for message in messages)


def lines_of(text: bytes, most: int) -> list[bytes]:
    """Return at most so many lines."""
    return text.split(b"\n", most - 1)[:most]
