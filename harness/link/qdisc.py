"""A link spec as queueing disciplines: what netem and tbf can do of it, stage by stage.

The stages of one direction, from the outside in (each the child of the one before):

1. ``netem`` with loss, duplication, corruption, delay and jitter;
2. ``netem`` again when packets are to be held back (netem's own ``reorder`` sends the others at once, so
their
   delay has to be another stage's);
3. ``tbf`` when there is a rate, with the queue behind it. It comes after the delay, which for a constant
delay is
   the same as before it, and leaves a tail-drop queue of exactly the size asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.link.base import CoreSpec
from punktfunk.errors import CapabilityError

LINE_PACKETS = 200_000
"""netem's ``limit``: packets in flight. The default of 1000 silently drops at high rate times delay."""

DEFAULT_QUEUE_PACKETS = 1000
_ETHERNET_BYTES = 14
_IP_UDP_BYTES = 28
_MTU_FRAME_BYTES = 1514

_ORDERED_RATE = "100gbit"
"""A rate makes netem send in the order of arrival; one this high does nothing else."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One qdisc: its kind and the arguments of ``tc`` behind it (microseconds and percent written out)."""

    kind: str
    arguments: tuple[str, ...]


def stages(spec: CoreSpec) -> list[Stage]:
    """Return the stages for ``spec``; at least one.

    Raises :class:`CapabilityError` for what netem cannot do (the ``tun`` link can).
    """
    found = [Stage("netem", tuple(_main(spec)))]
    reorder = spec.get("reorder") or {}
    if reorder.get("p"):
        # netem sends a share of the packets at once and delays the rest by ``extra``: the rest is the
        # reordered.
        found.append(
            Stage(
                "netem",
                (
                    "limit", str(LINE_PACKETS), "delay", _us(reorder["extra_us"]),
                    "reorder", _percent(1.0 - reorder["p"]),
                ),
            )
        )  # fmt: skip
        if spec.get("duplicate"):
            raise CapabilityError("netem cannot both duplicate and reorder in one tree", "use the tun link")
    if spec.get("rate_kbps"):
        found.append(Stage("tbf", tuple(_bottleneck(spec))))
        if spec.get("queue_packets") is not None or spec.get("queue_bytes") is None:
            packets = spec.get("queue_packets") or DEFAULT_QUEUE_PACKETS
            found.append(Stage("pfifo", ("limit", str(packets))))
    return found


def _main(spec: CoreSpec) -> Iterator[str]:
    yield from ("limit", str(LINE_PACKETS))
    delay, jitter = float(spec.get("delay_us") or 0), float(spec.get("jitter_us") or 0)
    if delay or jitter:
        yield from ("delay", _us(delay))
        if jitter:
            yield _us(jitter)
            yield from _distribution(spec)
            if not spec.get("jitter_reorder"):
                yield from ("rate", _ORDERED_RATE)
    yield from _loss(spec)
    if spec.get("duplicate"):
        yield from ("duplicate", _percent(spec["duplicate"]))
    if spec.get("corrupt"):
        if spec.get("corrupt_mode") == "payload":
            raise CapabilityError(
                "netem cannot corrupt past the UDP checksum (corrupt: mode: payload)", "use the tun link"
            )
        yield from ("corrupt", _percent(spec["corrupt"]))


def _distribution(spec: CoreSpec) -> tuple[str, ...]:
    match spec.get("jitter_distribution", "uniform"):
        case "uniform":
            return ()
        case "normal":
            return ("distribution", "normal")
        case other:
            raise CapabilityError(f"netem's {other} jitter is not the one asked for", "use the tun link")


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
    limit = spec.get("queue_bytes")
    if limit is None:
        limit = (spec.get("queue_packets") or DEFAULT_QUEUE_PACKETS) * _MTU_FRAME_BYTES
    yield from ("rate", f"{kbps}kbit", "burst", str(burst), "limit", str(max(limit, _MTU_FRAME_BYTES)))


def overhead(spec: CoreSpec) -> int:
    """Return what tbf must add to a frame's length so that a datagram weighs payload plus ``overhead_bytes``."""
    return int(spec.get("overhead_bytes", _IP_UDP_BYTES)) - _IP_UDP_BYTES - _ETHERNET_BYTES


def _us(value: float) -> str:
    return f"{round(value)}us"


def _percent(share: float) -> str:
    return f"{share * 100:.6f}%"
