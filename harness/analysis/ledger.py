"""The loss ledger: where every packet and every frame went. Each balance must be zero.

A balance that is not zero is a fault of the harness or of the program under test, never chance: it says that
a counter lies, or that something was lost where nobody looked. Packets still under way are counted
(``in_flight``, ``queue_packets``), so a ledger taken in the middle of a stream balances too, once the
counters were read together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.analysis.records import NULL, Records
from harness.analysis.results import Ledger

Counters = Mapping[str, int]


def rejected(client: Counters) -> int:
    """Return how many packets the client refused, over all reasons."""
    return sum(count for name, count in client.items() if name.startswith("rejected_"))


def split_kernel_drops(client: dict[str, int], link: Counters | None) -> None:
    """Take what failed its UDP checksum out of the client's ``kernel_dropped``, where the kernel counts it too.

    Linux adds datagrams with a wrong checksum to the drop counter of the socket (``sk_drops``) that buffer overflows
    are read from; the link knows how many it delivered that way.
    """
    damaged = _damaged(link) if link is not None else 0
    client["kernel_dropped"] = max(0, _get(client, "kernel_dropped") - damaged)


def _damaged(link: Counters) -> int:
    """Return how many packets of the stream arrived with a wrong checksum; others share the link."""
    return _get(link, "checksum_dropped") - _get(link, "other_checksum_dropped")


def packet_balances(host: Counters | None, link: Counters | None, client: Counters | None) -> dict[str, int]:
    """Return the balances of packets on their way, left side minus right side.

    A side that is not known (a foreign host, a link that does not count) leaves its balances out.
    """
    found = {}
    if host is not None:
        found["sealed = sent + dropped + queued"] = _get(host, "packets_sealed") - _sum(
            host, "packets_sent", "packets_socket_dropped", "packets_queue_dropped", "queue_packets"
        )
    if link is not None:
        found["link in + duplicated = dropped + delivered + in flight"] = _sum(
            link, "link_in", "duplicated"
        ) - _sum(link, "dropped_total", "delivered", "in_flight")
    if host is not None and link is not None:
        found["sent = link in + device dropped"] = (
            _get(host, "packets_sent") + _get(link, "other_in") - _sum(link, "link_in", "device_dropped")
        )
    if link is not None and client is not None:
        found["delivered = received + kernel dropped + checksum dropped"] = _get(link, "delivered") - (
            _sum(client, "packets_received", "kernel_dropped")
            + _damaged(link)
            + _get(link, "other_delivered")
        )
    if client is not None:
        found["received = used + late + duplicate + rejected"] = (
            _get(client, "packets_received")
            - _sum(client, "packets_used", "packets_late", "packets_duplicate")
            - rejected(client)
        )
    return found


def frame_balances(host: Counters | None, client: Counters | None) -> dict[str, int]:
    """Return the balances of shards and frames, left side minus right side.

    A frame dropped from the sender's queue is a gap to the client and stands among its unrecoverable frames.
    ``frames_unknown`` of the client (:func:`unknown_frames`) are those after the last one that it heard of.
    """
    found = {}
    if client is not None:
        found["data shards missing = recovered + unrecoverable"] = _get(client, "data_shards_missing") - _sum(
            client, "data_shards_recovered", "data_shards_unrecoverable"
        )
        found["complete = decodable + undecodable"] = _get(client, "frames_complete") - _sum(
            client, "frames_decodable", "frames_undecodable"
        )
    if host is not None and client is not None:
        found["submitted = complete + unrecoverable + expired + unknown"] = _get(
            host, "frames_submitted"
        ) - _sum(client, "frames_complete", "frames_unrecoverable", "frames_expired", "frames_unknown")
    return found


def unknown_frames(records: Records) -> int:
    """Return how many frames at the end of a stream the client never heard of, from the joined records."""
    heard = records["index"][records["client_status"] != NULL]
    last = int(heard.max()) if heard.size else -1
    return int(np.count_nonzero((records["index"] > last) & (records["host_status"] != NULL)))


def balances(
    host: Counters | None = None, link: Counters | None = None, client: Counters | None = None
) -> Ledger:
    """Return the ledger of one direction from its host's, link's and client's counters, where known.

    Counters of one side keep their name; a name that two sides use is prefixed with its side.
    """
    counts: dict[str, int] = {}
    sides = {"host": host, "link": link, "client": client}
    for side, counters in sides.items():
        for name, value in (counters or {}).items():
            shared = any(name in (other or {}) for key, other in sides.items() if key != side)
            counts[f"{side}_{name}" if shared else name] = int(value)
    return Ledger(counts=counts, balances=packet_balances(host, link, client) | frame_balances(host, client))


_SETTINGS = frozenset({"gso", "gro", "realtime", "slice_ns"})


def add(counters: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sum of two seeds' counters of one side; peaks and settings keep their maximum."""
    return {
        name: max(counters.get(name, 0), more.get(name, 0))
        if name.endswith(("_peak_bytes", "_granted", "_max_ns")) or name in _SETTINGS
        else counters.get(name, 0) + more.get(name, 0)
        for name in sorted({*counters, *more})
    }


def _get(counters: Counters, name: str) -> int:
    return int(counters.get(name, 0))


def _sum(counters: Counters, *names: str) -> int:
    return sum(_get(counters, name) for name in names)
