"""The ``netem`` link: sender, router and receiver namespaces, Linux's own ``netem`` and ``tbf`` on the router.

The router hop and segmentation switched off on the senders' devices are what make netem decide on packets:
a UDP GSO train that reaches netem whole is lost, delayed and counted as one packet.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.link.base import (
    DIRECTIONS,
    Capability,
    CoreSpec,
    Direction,
    LinkSpecs,
    LiveLink,
    steady,
    udp_counts,
)
from harness.link.counted import CounterWindows
from harness.link.packetcount import PacketCounter, Port
from harness.link.qdisc import Stage, Table, overhead, stages
from harness.link.schedule import Schedule, timeline
from harness.link.window import Window
from harness.network import userns
from harness.network.namespaces import Namespace, netlink
from harness.network.topology import (
    Topology,
    add_address,
    add_neighbour,
    add_route,
    hardware_address,
    quiet_ipv6,
    segment_address,
    set_up,
    tc,
    udp_segmentation,
    write_sysctl,
)
from punktfunk.clock import monotonic_ns
from punktfunk.errors import CapabilityError, PunktfunkError

DEVICE = "pfl0"
_TO_HOST, _TO_CLIENT = "pfl-host", "pfl-client"
_EGRESS: dict[Direction, str] = {"down": _TO_CLIENT, "up": _TO_HOST}


def capability() -> Capability:
    """Return whether this kernel has ``sch_netem`` (tried in a namespace of its own)."""
    if userns.needed():
        return _capability_without_root()
    try:
        with Topology("probe-netem") as made:
            tc(made.namespace("netem"), "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except PunktfunkError as error:
        return Capability(False, error.cause, error.hint)
    return Capability(True)


def _capability_without_root() -> Capability:
    if why := userns.refusal():
        return Capability(False, f"network namespaces need root or a user namespace: {why}", "run as root")
    program = "import json; from harness.link import netem; print(json.dumps(netem.capability().reason))"
    reason = userns.python(program)
    return Capability(not reason, reason, "use the tun link instead" if reason else "")


class NetemLink(LiveLink):
    """A running netem link.

    Raises :class:`CapabilityError` where the kernel lacks ``sch_netem`` or netem cannot do what is asked.
    ``segmentation`` leaves the senders' segmentation on: it sabotages the link, for the test of the probe.
    """

    backend = "netem"
    host_device = client_device = DEVICE

    def __init__(
        self, topology: Topology, folder: Path, media_ports: Iterable[int], *, segmentation: bool = False
    ) -> None:
        super().__init__(topology, media_ports)
        self.host = topology.namespace("host")
        self.router = topology.namespace("router")
        self.client = topology.namespace("client")
        self.host_address = segment_address(0, 1)
        self.client_address = segment_address(1, 1)
        self._folder = folder
        self._stages: dict[Direction, list[Stage]] = {}
        self._overhead: dict[Direction, int] = {}
        self._schedules: list[Schedule] = []
        self._zero: dict[Direction, dict[str, int]] = {}
        self._duplicates: dict[Direction, bool] = {"down": False, "up": False}
        self._lock = threading.Lock()
        self._applied: dict[Direction, tuple[int, int]] = {}
        self._counted: CounterWindows | None = None
        for namespace in (self.host, self.router, self.client):
            quiet_ipv6(namespace)
        self._join(self.host, 0, _TO_HOST)
        self._join(self.client, 1, _TO_CLIENT)
        write_sysctl(self.router, "ipv4/ip_forward", "1")
        write_sysctl(self.router, "ipv6/conf/all/forwarding", "1")
        add_route(self.host, 1, segment_address(0, 2))
        add_route(self.client, 0, segment_address(1, 2))
        for namespace in (self.host, self.client):
            udp_segmentation(namespace, DEVICE, enable=segmentation)
        self._counters = {
            "down": (
                PacketCounter(self.router, _TO_HOST, Port.SOURCE, self.media_ports),
                PacketCounter(self.client, DEVICE, Port.SOURCE, self.media_ports),
            ),
            "up": (
                PacketCounter(self.router, _TO_CLIENT, Port.DESTINATION, self.media_ports),
                PacketCounter(self.host, DEVICE, Port.DESTINATION, self.media_ports),
            ),
        }
        topology.callback(self.close)

    def _join(self, end: Namespace, segment: int, router_device: str) -> None:
        self.topology.veth(end, DEVICE, self.router, router_device)
        near, far = segment_address(segment, 1), segment_address(segment, 2)
        add_address(end, DEVICE, near)
        add_address(self.router, router_device, far)
        add_neighbour(end, DEVICE, far, hardware_address(self.router, router_device))
        add_neighbour(self.router, router_device, near, hardware_address(end, DEVICE))
        for namespace, device in ((end, DEVICE), (self.router, router_device)):
            set_up(namespace, device, txqlen=10_000)

    def restart(self, specs: LinkSpecs) -> None:
        """Apply ``specs`` with fresh qdiscs, and start their clocks."""
        self._stop_schedules()
        self._counted, before_ns = None, monotonic_ns()
        for direction in DIRECTIONS:
            self._build(direction, steady(specs.of(direction)))
        self._zero = self._counts()
        for direction in DIRECTIONS:
            checksum = udp_counts(self._receiver(direction)).get("InCsumErrors", 0)
            self._zero[direction]["checksum_dropped"] = checksum
            self._schedule(direction, specs.of(direction))
        self._applied = dict.fromkeys(DIRECTIONS, (before_ns, monotonic_ns()))

    def set_spec(self, direction: Direction, spec: CoreSpec) -> None:
        """Apply ``spec`` in one direction; counters stay, its trace and timed changes start now."""
        self._stop_schedules(direction)
        before_ns = monotonic_ns()
        self._apply(direction, steady(spec))
        self._schedule(direction, spec)
        self._applied[direction] = (before_ns, monotonic_ns())

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what the outermost netem and the watchers of the stream counted since :meth:`restart`."""
        found: dict[str, dict[str, int]] = {}
        for direction, counts in self._counts().items():
            zero = self._zero.get(direction, {})
            # What waits in the queue is no sum over time: it has no zero to be taken from.
            now = {
                name: value - (name != "in_flight" and zero.get(name, 0)) for name, value in counts.items()
            }
            surplus = now["delivered"] + now["dropped_total"] + now["in_flight"] - now["link_in"]
            # netem does not count the copies it makes; where it was asked for some, the surplus is them.
            now["duplicated"] = surplus if self._duplicates[direction] else 0
            # A datagram whose checksum is wrong never reaches the socket, and never the stream's counters.
            now["checksum_dropped"] = udp_counts(self._receiver(direction)).get("InCsumErrors", 0) - zero.get(
                "checksum_dropped", 0
            )
            found[direction] = now
        return found

    def watch(self, asked: LinkSpecs) -> None:
        """Begin to count windows of what the qdiscs drop, beside ``asked``, which was applied last."""
        self._counted = CounterWindows(asked, self._applied, monotonic_ns(), log=False)

    def windows(self, *, final: bool = False) -> list[Window]:
        """Return the windows since the last call. The kernel counts losses; of delays it says nothing."""
        del final
        return [] if self._counted is None else self._counted.add(self.counters(), monotonic_ns())

    def close(self) -> None:
        """Stop following traces and counting."""
        self._stop_schedules()
        for pair in self._counters.values():
            for counter in pair:
                counter.close()

    def _receiver(self, direction: Direction) -> Namespace:
        return self.client if direction == "down" else self.host

    def _build(self, direction: Direction, spec: CoreSpec) -> None:
        wanted, weight = stages(spec), overhead(spec)
        self._duplicates[direction] |= bool(spec.get("duplicate"))
        have = self._stages.pop(direction, None)
        if have != wanted or self._overhead.get(direction) != weight:
            if have is not None:
                self._tc(direction, "qdisc", "del", "dev", _EGRESS[direction], "root")
            self._overhead[direction] = weight
            for place, stage in enumerate(wanted):
                self._put("add", direction, place, stage)
        self._stages[direction] = wanted

    def _apply(self, direction: Direction, spec: CoreSpec) -> None:
        with self._lock:
            wanted, have = stages(spec), self._stages[direction]
            if [stage.kind for stage in wanted] != [stage.kind for stage in have]:
                # Another shape, e.g. a rate where there was none: packets in the old queues are lost with them.
                self._build(direction, spec)
                return
            for place, (new, old) in enumerate(zip(wanted, have, strict=True)):
                if new != old:
                    # "change" keeps what is not named: every stage names all it was made with.
                    self._put("change", direction, place, new)
            self._stages[direction] = wanted

    def _put(self, verb: str, direction: Direction, place: int, stage: Stage) -> None:
        # Handles 1:, 2: …; each but the first hangs under class 1 of the one before. Sizes are corrected at the
        # root, the only place where the kernel takes a size table, and hold for the stages inside.
        parent = ("root",) if place == 0 else ("parent", f"{place}:1")
        sizes = ("stab", "overhead", str(self._overhead[direction])) if (verb, place) == ("add", 0) else ()
        self._tc(
            direction, "qdisc", verb, "dev", _EGRESS[direction], *parent, "handle", f"{place + 1}:",
            *sizes, stage.kind, *stage.arguments, table=stage.table,
        )  # fmt: skip

    def _tc(self, direction: Direction, *arguments: str, table: Table | None = None) -> None:
        environment = {}
        if table is not None:
            file = self._folder / "punktfunk.dist"
            file.write_text("".join(f"{entry}\n" for entry in table.entries), encoding="ascii")
            environment["TC_LIB_DIR"] = str(self._folder)
        tc(self.router, *arguments, environment=environment)
        with (self._folder / "link.jsonl").open("a", encoding="utf-8") as log:
            log.write(
                json.dumps({"direction": direction, "tc": arguments, "at_ns": time.monotonic_ns()}) + "\n"
            )

    def _schedule(self, direction: Direction, spec: CoreSpec) -> None:
        points = timeline(spec)
        if points.steps:
            follow = Schedule(points, lambda now: self._apply(direction, now), name=direction)
            self._schedules.append(follow)
            follow.start()

    def _stop_schedules(self, direction: Direction | None = None) -> None:
        for schedule in [planned for planned in self._schedules if direction in (None, planned.name)]:
            schedule.stop()
            self._schedules.remove(schedule)

    def _counts(self) -> dict[Direction, dict[str, int]]:
        found: dict[Direction, dict[str, int]] = {}
        for direction in DIRECTIONS:
            entry, exit_ = self._counters[direction]
            counts = _outermost(self.router, _EGRESS[direction])
            counts |= {"link_in": entry.all(), "delivered": exit_.all()}
            counts |= {"other_in": counts["link_in"] - entry.stream()}
            counts |= {"other_delivered": counts["delivered"] - exit_.stream()}
            found[direction] = counts
        return found


def _outermost(namespace: Namespace, device: str) -> dict[str, int]:
    """Return packets dropped by the qdiscs of ``device`` and packets waiting in them.

    A drop in an inner qdisc is counted by the outer one too, so the root's count is all of them.
    """

    def talk(ip: Any) -> dict[str, int]:
        [index] = ip.link_lookup(ifname=device)
        for qdisc in ip.get_qdiscs(index):
            if qdisc["parent"] == 0xFFFFFFFF:  # TC_H_ROOT
                stats = qdisc.get_attr("TCA_STATS2")
                queue = stats.get_attr("TCA_STATS_QUEUE")
                return {"dropped_total": int(queue["drops"]), "in_flight": int(queue["qlen"])}
        raise CapabilityError(f"{device} has no qdisc")

    return netlink(namespace, talk)
