"""The pump process: opens a TUN in each of two namespaces and joins them with the core's link model.

``python -m harness.link.pump CONFIG.json``, then JSON lines: ``{"do": "restart", …}``, ``{"do": "set", …}``,
``{"do": "counters"}``, ``{"do": "watch", …}``, ``{"do": "windows", …}`` in, ``{"event": …}`` out. It ends on SIGTERM,
SIGINT or the end of its input and leaves ``pump.json`` (counters, lateness) and, when asked for, ``link.npz`` (one row
a packet) in the case's folder.

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
from typing import TYPE_CHECKING, Any

from harness.network.namespaces import Namespace
from harness.network.topology import open_tun
from punktfunk.clock import monotonic_ns
from punktfunk.core._core import TunPump
from punktfunk.terminal import say_json

if TYPE_CHECKING:
    from harness.link.pumplog import Rows, WindowCounter

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
        self._log: list[Rows] = []
        self._windows: WindowCounter | None = None
        if config.log_packets:
            from harness.link import pumplog  # noqa: F401 - now, and not when the session has begun

    def restart(self, down: dict[str, Any], up: dict[str, Any], seed: int) -> None:
        """Start over with fresh counters and packet numbers; what is in flight is dropped."""
        self._log, self._windows = [], None
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
                before_ns = monotonic_ns()
                self.restart(message["down"], message["up"], int(message["seed"]))
                return {"event": "started", "applied_ns": [before_ns, monotonic_ns()]}
            case "set":
                assert self._pump is not None
                direction = "ab" if message["direction"] == "down" else "ba"
                before_ns = monotonic_ns()
                self._pump.set_spec(direction, json.dumps(message["spec"]))
                return {"event": "set", "applied_ns": [before_ns, monotonic_ns()]}
            case "counters":
                return {"event": "counters", **self.report()}
            case "watch":
                self.watch(message["asked"], message["applied_ns"], message["begin_ns"])
                return {"event": "watching", "begin_ns": message["begin_ns"]}
            case "windows":
                return {"event": "windows", **self.windows(final=bool(message["final"]))}
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

    def watch(self, asked: dict[str, Any], applied_ns: dict[str, tuple[int, int]], begin_ns: int) -> None:
        """Count windows of the log from ``begin_ns`` on, beside what was asked for and came into force then."""
        from harness.link.pumplog import WindowCounter

        self._windows = WindowCounter(asked, applied_ns, begin_ns)
        for rows in self._log:
            self._windows.add(rows)

    def windows(self, *, final: bool) -> dict[str, Any]:
        """Return the windows that are complete, and the counters of now."""
        assert self._pump is not None
        # In this order: what had come in by then is counted, and what is counted is in the log or under way.
        at_ns = monotonic_ns()
        counters = self._pump.counters()
        offered = {"down": counters["ab"]["link_in"], "up": counters["ba"]["link_in"]}
        rows = self._take()
        found = []
        if self._windows is not None:
            self._windows.add(rows)
            found = self._windows.take(offered, at_ns, final=final)
        return {
            "at_ns": at_ns,
            "counters": {"down": counters["ab"], "up": counters["ba"]},
            "windows": [asdict(window) for window in found],
        }

    def _take(self) -> Rows:
        """Take the rows of the log since the last time; the first ones are kept for the file."""
        import numpy as np

        assert self._pump is not None
        rows: Rows = {name: np.frombuffer(data, "<i8") for name, data in self._pump.take_log().items()}
        left = _LOG_ROWS - sum(len(kept["index"]) for kept in self._log)
        if left > 0:
            self._log.append({name: column[:left] for name, column in rows.items()})
        return rows

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

            self._take()
            columns = {name: np.concatenate([rows[name] for rows in self._log]) for name in self._log[0]}
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
