"""How a stream ended, by what its receive worker said last; the same on every wire."""

from __future__ import annotations

from punktfunk.client.ending import NOTHING_CAME_NS, Counts, End
from punktfunk.client.messages import Ended, Progress
from punktfunk.client.summary import Summary


def told(message: Ended, *, failed: bool = False, hint: str = "") -> Summary:
    """Return the end that a worker has told of; ``failed`` and ``hint`` are what the connection knew before."""
    end = End(message.end)
    if message.last_packet_ns is None and message.silent_ns >= NOTHING_CAME_NS:
        failed, hint = True, hint or "does a firewall pass UDP from the host to this machine?"
    return Summary(
        message.reason,
        message.counters,
        failed=failed or end.failed,
        end=end,
        hint=hint,
        at_least=message.at_least,
        last_packet_ns=message.last_packet_ns,
        silent_ns=message.silent_ns,
    )


def untold(progress: Progress | None, end: End, reason: str, hint: str = "") -> Summary:
    """Return the end of a worker that left no figures: those of its last report, and no word on loss."""
    if progress is None:
        return Summary(reason, failed=end.failed, end=end, hint=hint)
    counts = Counts.of(progress.counters, loss_known=False)
    return Summary(
        reason,
        counts.counters,
        failed=end.failed,
        end=end,
        hint=hint,
        at_least=counts.at_least,
        last_packet_ns=progress.last_packet_ns,
    )


def exited(progress: Progress | None, status: int, *, stopping: bool) -> Summary:
    """Return the end of a worker whose process ended, with that status, before it told of anything."""
    words = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return untold(progress, End.STOPPED if stopping else End.FAILED, f"receive worker {words}")
