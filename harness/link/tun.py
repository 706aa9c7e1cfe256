"""The ``tun`` link: two namespaces, a TUN in each, and the core's seeded model in a pump process between them.

No queueing discipline and no kernel module is involved, so it works wherever TUNs may be made; decisions
fall on single packets whether the sender uses segmentation offload or not, and repeat for a seed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.link.base import DIRECTIONS, Capability, CoreSpec, Direction, LinkSpecs, LiveLink
from harness.link.counted import CounterWindows
from harness.link.pump import PumpConfig
from harness.link.window import Window, window_from
from harness.network import userns
from harness.network.process import NamespaceProcess
from harness.network.topology import (
    TUN_PATH,
    Topology,
    add_address,
    quiet_ipv6,
    segment_address,
)
from punktfunk.clock import monotonic_ns

DEVICE = "pfl0"
_START_S = 60.0
_ANSWER_S = 30.0
"""Nothing is measured by these two: they end a run whose pump hangs, and on a busy machine it may have to wait."""
_SEGMENT = 0


def capability() -> Capability:
    """Return whether TUN links can be made here."""
    if not TUN_PATH.exists():
        return Capability(False, f"{TUN_PATH} does not exist", "modprobe tun")
    if not os.access(TUN_PATH, os.R_OK | os.W_OK):
        return Capability(
            False, f"{TUN_PATH} cannot be opened by this user", f"run as root, or once: chmod 0666 {TUN_PATH}"
        )
    if userns.needed() and (why := userns.refusal()):
        return Capability(False, f"network namespaces need root or a user namespace: {why}", "run as root")
    return Capability(True)


class TunLink(LiveLink):
    """A running TUN link.

    Raises :class:`~punktfunk.errors.CapabilityError` where TUNs cannot be made and
    :class:`~punktfunk.errors.HarnessError` when the pump does not start.
    """

    backend = "tun"
    takes_trains = True
    host_device = client_device = DEVICE

    def __init__(
        self, topology: Topology, folder: Path, media_ports: Iterable[int], *, log_packets: bool = False
    ) -> None:
        super().__init__(topology, media_ports)
        self.host = topology.namespace("host")
        self.client = topology.namespace("client")
        self.host_address = segment_address(_SEGMENT, 1)
        self.client_address = segment_address(_SEGMENT, 2)
        for namespace in (self.host, self.client):
            quiet_ipv6(namespace)
        config = folder / "pump.config.json"
        config.write_text(
            PumpConfig(
                host_namespace=str(self.host.path),
                client_namespace=str(self.client.path),
                device=DEVICE,
                folder=str(folder),
                media_ports=tuple(sorted(self.media_ports)),
                log_packets=log_packets,
            ).to_json(),
            encoding="utf-8",
        )
        self.pump: NamespaceProcess = NamespaceProcess(
            "pump",
            [sys.executable, "-m", "harness.link.pump", str(config)],
            registration=topology.registration,
            folder=folder,
        )
        topology.callback(self.pump.stop)
        self.pump.wait_event("ready", _START_S)
        add_address(self.host, DEVICE, self.host_address)
        add_address(self.client, DEVICE, self.client_address)
        self._report: dict[str, Any] = {}
        self._logs = log_packets
        self._applied: dict[Direction, tuple[int, int]] = {}
        self._counted: CounterWindows | None = None

    def restart(self, specs: LinkSpecs) -> None:
        """Apply ``specs`` with fresh counters and packet numbers, and start their clocks."""
        self.pump.send({"do": "restart", "down": specs.down, "up": specs.up, "seed": specs.seed})
        before, after = self.pump.wait_event("started", _ANSWER_S)["applied_ns"]
        self._applied = dict.fromkeys(DIRECTIONS, (before, after))
        self._counted = None

    def set_spec(self, direction: Direction, spec: CoreSpec) -> None:
        """Apply ``spec`` in one direction; counters stay, its trace and timed changes start now."""
        self.pump.send({"do": "set", "direction": direction, "spec": spec})
        before, after = self.pump.wait_event("set", _ANSWER_S)["applied_ns"]
        self._applied[direction] = (before, after)

    def counters(self) -> dict[str, dict[str, int]]:
        """Return the pump's counters by direction."""
        report = self.report()
        return {"down": dict(report["down"]), "up": dict(report["up"])}

    def report(self) -> dict[str, Any]:
        """Return counters, lateness of departures and whether the pump has real-time priority.

        The last ones known when the pump is gone (a scenario may kill it).
        """
        if self.pump.returncode is None:
            self.pump.send({"do": "counters"})
            self._report = self.pump.wait_event("counters", _ANSWER_S)
        return self._report

    def watch(self, asked: LinkSpecs) -> None:
        """Begin to count windows of what the pump does, beside ``asked``, which was applied last."""
        begin_ns = monotonic_ns()
        self._counted = CounterWindows(asked, self._applied, begin_ns, log=self._logs)
        if self._logs:
            specs = {"down": asked.down, "up": asked.up}
            self.pump.send({"do": "watch", "asked": specs, "applied_ns": self._applied, "begin_ns": begin_ns})
            self.pump.wait_event("watching", _ANSWER_S)

    def windows(self, *, final: bool = False) -> list[Window]:
        """Return the windows that are complete since the last call; none once the pump is gone."""
        if self._counted is None or self.pump.returncode is not None:
            return []
        self.pump.send({"do": "windows", "final": final})
        said = self.pump.wait_event("windows", _ANSWER_S)
        counted = self._counted.add(said["counters"], said["at_ns"])
        return [window_from(plain) for plain in said["windows"]] + counted

    def close(self) -> None:
        """Stop the pump, which writes its report and log."""
        self.pump.stop()
