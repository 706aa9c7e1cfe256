"""What every live link offers: two namespaces, a path between them that is as asked, and counts of what it did.

Directions are ``down`` (host to client) and ``up`` (client to host). Specs are the core's link specs, as
``LinkSpec.core()`` gives them.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from harness.link.window import Window
from harness.network.namespaces import Namespace
from harness.network.process import NamespaceProcess
from harness.network.topology import Address, Topology
from punktfunk.errors import HarnessError

Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, Direction] = ("down", "up")
CoreSpec = dict[str, Any]
"""A link spec in the core's form (JSON)."""
MAX_MEDIA_PORTS: Final = 64
"""Ports that a link tells apart: the kernel's filter compares them one by one, and its jumps reach 255 instructions."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether this machine can do something, and if not, why and what would fix it."""

    ok: bool
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class LinkSpecs:
    """Both directions of a link in the core's form, and the seed of their decisions."""

    down: CoreSpec
    up: CoreSpec
    seed: int

    def of(self, direction: Direction) -> CoreSpec:
        """Return the spec of one direction."""
        return self.down if direction == "down" else self.up

    def steady(self) -> LinkSpecs:
        """Return the link as it is at its start: without trace and timed changes. This is what a probe sees."""
        return LinkSpecs(steady(self.down), steady(self.up), self.seed)


def steady(spec: CoreSpec) -> CoreSpec:
    """Return ``spec`` as it is at its start, the first point of a trace included."""
    still = {key: value for key, value in spec.items() if key not in ("trace", "trace_repeat", "changes")}
    for point in spec.get("trace") or []:
        if point["at_ms"] <= 0:
            still = with_point(still, point)
    for change in spec.get("changes") or []:
        if change["at_ms"] <= 0:
            still |= change["set"]
    return still


def with_point(spec: CoreSpec, point: Mapping[str, Any]) -> CoreSpec:
    """Return ``spec`` with a trace point's rate, delay and loss applied; what the point leaves out stays."""
    changed = dict(spec)
    if point.get("rate_kbps") is not None:
        changed["rate_kbps"] = point["rate_kbps"]
    if point.get("delay_us") is not None:
        changed["delay_us"] = point["delay_us"]
    if point.get("loss_p") is not None:
        changed["loss"] = {"kind": "independent", "p": point["loss_p"]}
    return changed


class LiveLink(abc.ABC):
    """A link between the namespaces of host and client; a context manager that closes it.

    ``host`` and ``client`` are the namespaces, ``host_address`` and ``client_address`` the addresses to use.
    ``media_ports`` are the UDP ports at which the host sends and hears the stream. The link does the same to every
    packet; the ports only tell the stream's packets from the others (control, discovery), which are counted apart. A
    fragment has no port and is none of the stream's. Raises :class:`HarnessError` for no port, or more than
    :data:`MAX_MEDIA_PORTS`.
    """

    backend: str
    pump: NamespaceProcess | None = None
    """The process that carries the packets, where there is one."""
    host: Namespace
    client: Namespace
    host_address: Address
    client_address: Address
    host_device: str
    client_device: str
    takes_trains: bool = False
    """Whether a GSO train reaches the senders' devices whole, and is dropped and counted there as one packet."""

    def __init__(self, topology: Topology, media_ports: Iterable[int]) -> None:
        self.topology = topology
        self.media_ports = frozenset(media_ports)
        if not 1 <= len(self.media_ports) <= MAX_MEDIA_PORTS:
            raise HarnessError(
                f"a link tells 1 to {MAX_MEDIA_PORTS} media ports apart, not {len(self.media_ports)}"
            )
        wrong = [port for port in self.media_ports if not 1 <= port <= 65_535]
        if wrong:
            raise HarnessError(f"{min(wrong)} is no UDP port")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @abc.abstractmethod
    def restart(self, specs: LinkSpecs) -> None:
        """Apply ``specs`` with fresh counters and packet numbers, and start their clocks."""

    @abc.abstractmethod
    def set_spec(self, direction: Direction, spec: CoreSpec) -> None:
        """Apply ``spec`` in one direction; counters stay, its trace and timed changes start now."""

    @abc.abstractmethod
    def counters(self) -> dict[str, dict[str, int]]:
        """Return the link counters by direction; those named ``other_`` are not the stream's."""

    def report(self) -> dict[str, Any]:
        """Return what the link knows of itself beside its counters: ``lateness``, ``realtime``."""
        return {}

    @abc.abstractmethod
    def watch(self, asked: LinkSpecs) -> None:
        """Begin to count windows of what the link does, beside ``asked``, which was applied last."""

    @abc.abstractmethod
    def windows(self, *, final: bool = False) -> list[Window]:
        """Return the windows that are complete since the last call; with ``final`` also those that never will be."""

    @abc.abstractmethod
    def close(self) -> None:
        """End what the link runs; the topology removes the rest."""

    def device_drops(self) -> dict[str, int]:
        """Return packets that a device dropped before the link saw them, by direction, since the start."""
        return {
            "down": transmit_drops(self.host, self.host_device),
            "up": transmit_drops(self.client, self.client_device),
        }


def transmit_drops(namespace: Namespace, device: str) -> int:
    """Return ``tx_dropped`` of a device: packets that its full queue refused (a whole GSO train counts once)."""

    def inside() -> int:
        text = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
        for line in text.splitlines():
            name, _, columns = line.partition(":")
            if name.strip() == device:
                return int(columns.split()[11])
        return 0

    return namespace.run(inside)


def udp_counts(namespace: Namespace) -> dict[str, int]:
    """Return the kernel's UDP counters of a namespace (``/proc/net/snmp``), e.g. ``RcvbufErrors``."""

    def inside() -> dict[str, int]:
        text = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii")
        found = re.findall(r"^Udp: (.*)$", text, re.MULTILINE)
        names, values = found[0].split(), found[1].split()
        return {name: int(value) for name, value in zip(names, values, strict=True)}

    return namespace.run(inside)
