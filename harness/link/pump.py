"""The pump process: opens a TUN in each of two namespaces and joins them with the core's link model.

``python -m harness.link.pump CONFIG.json``, then JSON lines: ``{"do": "restart", …}``, ``{"do": "set", …}``,
``{"do": "counters"}`` in, ``{"event": …}`` out. It ends on SIGTERM, SIGINT or the end of its input and leaves
``pump.json`` (counters, lateness) and, when asked for, ``link.npz`` (one row a packet) in the case's folder.

A process of its own, so that its real-time scheduling and its load touch neither runner nor peers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.network.namespaces import Namespace
from harness.network.topology import open_tun
from punktfunk.core._core import TunPump
from punktfunk.terminal import say_json

_LOG_ROWS = 4_000_000
"""Packets that the link log keeps, 56 bytes each; later ones are counted only."""


@dataclass(frozen=True)
class PumpConfig:
    """What the pump is told at its start."""

    host_namespace: str
    client_namespace: str
    device: str
    folder: str
    media_ports: tuple[int, ...]
    log_packets: bool = False
    coalesce: bool = True
    """Join survivors that leave together into one GSO write, as the receiver's device would."""

    def to_json(self) -> str:
        """Return the configuration as one JSON object."""
        return json.dumps(asdict(self))


class Pump:
    """The two TUNs and the model between them."""

    def __init__(self, config: PumpConfig) -> None:
        self._config = config
        self._fds = [
            open_tun(Namespace(Path(path)), config.device)
            for path in (config.host_namespace, config.client_namespace)
        ]
        self._pump: TunPump | None = None

    def restart(self, down: dict[str, Any], up: dict[str, Any], seed: int) -> None:
        """Start over with fresh counters and packet numbers; what is in flight is dropped."""
        if self._pump is not None:
            self._pump.restart(json.dumps(down), json.dumps(up), seed)
            return
        self._pump = TunPump(
            self._fds[0],
            self._fds[1],
            json.dumps(down),
            json.dumps(up),
            seed,
            realtime=os.geteuid() == 0,
            coalesce=self._config.coalesce,
            log_packets=self._config.log_packets,
            log_rows=_LOG_ROWS,
            media_ports=self._config.media_ports,
        )

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a message says and return the event that answers it."""
        match message.get("do"):
            case "restart":
                self.restart(message["down"], message["up"], int(message["seed"]))
                return {"event": "started"}
            case "set":
                assert self._pump is not None
                direction = "ab" if message["direction"] == "down" else "ba"
                self._pump.set_spec(direction, json.dumps(message["spec"]))
                return {"event": "set"}
            case "counters":
                return {"event": "counters", **self.report()}
            case other:
                return {"event": "refused", "reason": f"the pump cannot {other!r}"}

    def report(self) -> dict[str, Any]:
        """Return counters by direction and how late packets left (ns)."""
        if self._pump is None:
            return {"down": {}, "up": {}, "lateness": {}, "stats": {}, "realtime": False}
        counters = self._pump.counters()
        return {
            "down": counters["ab"],
            "up": counters["ba"],
            "lateness": self._pump.lateness_ns(),
            "stats": self._pump.stats(),
            "realtime": self._pump.realtime,
        }

    def stop(self) -> None:
        """Stop the model; the TUNs stay."""
        if self._pump is not None:
            self._pump.stop()

    def write(self) -> None:
        """Leave the final counts, and the packet log, in the folder."""
        folder = Path(self._config.folder)
        fresh = folder / "pump.json.new"
        fresh.write_text(json.dumps(self.report(), indent=1), encoding="utf-8")
        fresh.rename(folder / "pump.json")
        if self._config.log_packets and self._pump is not None:
            import numpy as np

            columns = {name: np.frombuffer(data, "<i8") for name, data in self._pump.take_log().items()}
            np.savez_compressed(folder / "link.npz", **columns)  # type: ignore[arg-type]  # numpy types keywords as its own options


class _Ended(BaseException):
    """A signal asks for the end."""


def _end(_number: int, _frame: object) -> None:
    raise _Ended


def main() -> int:
    """Run until told to end."""
    config = PumpConfig(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    pump = Pump(config)
    with contextlib.suppress(_Ended):
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
        say_json({"event": "ready", "pid": os.getpid()})
        for line in sys.stdin:
            say_json(pump.answer(json.loads(line)))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pump.stop()
    pump.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
