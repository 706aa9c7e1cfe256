"""A link spec as queueing disciplines: what netem and tbf can do of it, stage by stage.

The stages of one direction, from the outside in (each the child of the one before):

1. ``netem`` with loss, duplication, corruption and delay. Jitter and packets that are held back to be reordered
   are one table of delays, drawn from the same distributions as the core's model (netem's own ``reorder`` sends
   the *others* at once, without their delay);
2. ``tbf`` when there is a rate, and the queue before it. It comes after the delay, which for a constant delay is
   the same as before it, and leaves a tail-drop queue of exactly the size asked for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.link.base import CoreSpec
from punktfunk.errors import CapabilityError

LINE_PACKETS = 200_000
"""netem's ``limit``: packets in flight. The default of 1000 silently drops at high rate times delay."""

DEFAULT_QUEUE_PACKETS = 1000
TABLE_ENTRIES = 8192
"""Delays in a table, of 16384 at most; netem draws each with the same probability."""

_TABLE_SCALE = 8192
_TABLE_GREATEST = 32_767
"""NETEM_DIST_SCALE (linux/pkt_sched.h): an entry of this value is one ``jitter``; entries are 16 bits."""

_ETHERNET_BYTES = 14
_IP_UDP_BYTES = 28
_MTU_FRAME_BYTES = 1514

_ORDERED_RATE = "100gbit"
"""A rate makes netem send in the order of arrival; one this high does nothing else."""


@dataclass(frozen=True, slots=True)
class Table:
    """A distribution of added delay: ``entries`` / 8192 times ``scale_us`` each."""

    scale_us: float
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One qdisc: its kind, the arguments of ``tc`` behind it, and netem's table where it has one."""

    kind: str
    arguments: tuple[str, ...]
    table: Table | None = None


def stages(spec: CoreSpec) -> list[Stage]:
    """Return the stages for ``spec``; at least one.

    Raises :class:`CapabilityError` for what netem cannot do (the ``tun`` link can).
    """
    table = delay_table(spec)
    found = [Stage("netem", tuple(_main(spec, table)), table)]
    if spec.get("rate_kbps"):
        found.append(Stage("tbf", tuple(_bottleneck(spec))))
        if spec.get("queue_bytes") is None:
            packets = spec.get("queue_packets") or DEFAULT_QUEUE_PACKETS
            found.append(Stage("pfifo", ("limit", str(packets))))
        elif spec.get("queue_packets") is not None:
            raise CapabilityError("a queue of tbf has one limit, bytes or packets", "use the tun link")
    return found


def overhead(spec: CoreSpec) -> int:
    """Return what must be added to a frame's length so that a datagram weighs payload plus ``overhead_bytes``."""
    return int(spec.get("overhead_bytes", _IP_UDP_BYTES)) - _IP_UDP_BYTES - _ETHERNET_BYTES


def delay_table(spec: CoreSpec) -> Table | None:
    """Return the table of what is added to the delay; None when nothing is.

    Entries are quantiles of the jitter; every n-th of them also carries the extra delay of a packet held back, so
    that the two are independent.
    """
    jitter = float(spec.get("jitter_us") or 0.0)
    reorder = spec.get("reorder") or {}
    share, extra = float(reorder.get("p") or 0.0), float(reorder.get("extra_us") or 0.0)
    if not jitter and not (share and extra):
        return None
    if jitter and share and not spec.get("jitter_reorder"):
        raise CapabilityError(
            "netem keeps either all packets in order or none: jitter in order and reordering exclude each other",
            "use the tun link, or jitter with reorder: true",
        )
    quantile = _QUANTILES[str(spec.get("jitter_distribution", "uniform"))]
    values = []
    for entry in range(TABLE_ENTRIES):
        value = jitter * quantile((entry + 0.5) / TABLE_ENTRIES) if jitter else 0.0
        held = math.floor((entry + 1) * share) > math.floor(entry * share)
        values.append(value + extra * held)
    greatest = max(abs(value) for value in values)
    scale = greatest * _TABLE_SCALE / _TABLE_GREATEST
    return Table(scale, tuple(round(value / scale * _TABLE_SCALE) for value in values))


def _pareto(u: float) -> float:
    """Lomax quantile of shape 3 and mean 1, cut off as the core's model does."""
    return float(2 * (max(1 - u, 1e-6) ** (-1 / 3) - 1))


_QUANTILES: dict[str, Callable[[float], float]] = {
    "uniform": lambda u: 2 * u - 1,
    "normal": statistics.NormalDist().inv_cdf,
    "pareto": _pareto,
}


def _main(spec: CoreSpec, table: Table | None) -> Iterator[str]:
    yield from ("limit", str(LINE_PACKETS))
    delay = float(spec.get("delay_us") or 0.0)
    if table is not None:
        # The distribution's name: the caller writes the table to a file of that name.
        yield from ("delay", _us(delay), _us(table.scale_us), "distribution", "punktfunk")
        if spec.get("jitter_us") and not spec.get("jitter_reorder"):
            yield from ("rate", _ORDERED_RATE)
    elif delay:
        yield from ("delay", _us(delay))
    yield from _loss(spec)
    if spec.get("duplicate"):
        yield from ("duplicate", _percent(spec["duplicate"]))
    if spec.get("corrupt"):
        if spec.get("corrupt_mode") == "payload":
            raise CapabilityError(
                "netem cannot corrupt past the UDP checksum (corrupt: mode: payload)", "use the tun link"
            )
        yield from ("corrupt", _percent(spec["corrupt"]))


def _loss(spec: CoreSpec) -> tuple[str, ...]:
    loss = spec.get("loss") or {"kind": "none"}
    match loss["kind"]:
        case "none":
            return ()
        case "independent":
            return ("loss", "random", _percent(loss["p"]))
        case "gilbert_elliott":
            # tc-netem(8): gemodel p r 1-h 1-k, the last two the loss in the bad and the good state.
            return (
                "loss", "gemodel", _percent(loss["p"]), _percent(loss["r"]),
                _percent(loss.get("bad", 1.0)), _percent(loss.get("good", 0.0)),
            )  # fmt: skip
        case other:
            raise CapabilityError(f"netem has no {other} loss", "use the tun link")


def _bottleneck(spec: CoreSpec) -> Iterator[str]:
    kbps = int(spec["rate_kbps"])
    # A bucket of 0.25 ms, but room for a whole frame: tbf cannot send what does not fit.
    burst = max(2 * _MTU_FRAME_BYTES, kbps * 125 // 4000)
    limit = int(spec.get("queue_bytes") or DEFAULT_QUEUE_PACKETS * _MTU_FRAME_BYTES)
    yield from ("rate", f"{kbps}kbit", "burst", str(burst), "limit", str(max(limit, _MTU_FRAME_BYTES)))


def _us(value: float) -> str:
    return f"{round(value)}us"


def _percent(share: float) -> str:
    return f"{share * 100:.6f}%"
