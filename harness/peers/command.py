"""A described program of any project as one end of a live link (a *command peer*).

It keeps no statistics and no frame records of ours: what is known of it is what is seen from outside (``run.outside``)
and what its own output tells.
"""

from __future__ import annotations

import math
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.analysis.records import Records
from harness.network.foreign import ForeignProcess
from harness.network.namespaces import Namespace
from harness.network.pace import PATIENCE
from harness.network.topology import write_sysctl
from harness.peers.host import CONTROL_PORT, MEDIA_PORTS
from harness.peers.peer import Ends, Place, Role, Stats
from harness.scenario.foreign import TOLD, Occasion, PeerDescription, Readiness, fill
from harness.scenario.model import Session
from harness.scenario.protocols import DEFAULT, GAMESTREAM
from punktfunk.errors import CapabilityError, CheckFailedError, HarnessError
from punktfunk.gamestream.ports import Ports
from punktfunk.units import Mode

UNSUPPORTED: Final = 127
"""Exit status of a program that cannot do what it is asked, as in quic-interop-runner."""
_POLL_S: Final = 0.05
_END_S: Final = 5.0
"""Between the end of a program's output and its own."""
_NOBODY: Final = "0" * 64
"""A fingerprint that no certificate has."""
_TCP_LISTEN: Final = "0A"


def control_port(protocol: str) -> int:
    """Return the port at which a host of a protocol is addressed inside the namespaces."""
    return Ports().http if protocol == GAMESTREAM else CONTROL_PORT


@dataclass(frozen=True, slots=True)
class CommandKind:
    """Makes peers of one description (a :class:`~harness.peers.loading.HostKind` and ``ClientKind``)."""

    description: PeerDescription
    own_ports: frozenset[int]
    """The media ports of the protocol's own host."""

    @property
    def ports(self) -> frozenset[int]:
        """Return the UDP ports of a host's stream."""
        return frozenset(self.description.ports) or self.own_ports

    def __call__(self, spec: Session, place: Place, /) -> CommandPeer:
        """Return a peer that has not been started; raise CapabilityError where its program is missing."""
        return CommandPeer(self.description, spec, place, self.ports)


class CommandPeer:
    """A described program as host or client (a :class:`~harness.peers.peer.LiveHost` and ``LivePeer``)."""

    def __init__(
        self, description: PeerDescription, spec: Session, place: Place, ports: frozenset[int]
    ) -> None:
        self.description = description
        self.role: Role = description.role
        self.program = description.name
        self.ports = ports if self.role == "host" else frozenset()
        self._spec, self._place = spec, place
        self._state = place.folder / f"{self.role}.state"
        self._own_dump = place.folder / f"{self.role}.dump"
        self._started: ForeignProcess | None = None
        self._asked_to_end = False
        self.pinned = _NOBODY
        """Fingerprint of the host that a client is to expect."""

    @property
    def dump(self) -> Path | None:
        """Where a client leaves the coded video that it receives; None where it leaves none."""
        dump = self.description.dump
        return Path(fill([dump.path], self._values())[0]) if dump else None

    @property
    def fingerprint(self) -> str:
        """Of its certificate, as its output shows it; "" where it does not."""
        pattern = self.description.fingerprint
        match = self._process.last_match(pattern) if pattern else None
        return match["fingerprint"] if match else ""

    @property
    def ends(self) -> Ends:
        """When it ends."""
        return self.description.ends

    def start(self) -> None:
        """Start the program with what its description gives it in this case."""
        if self.role == "host" and not self.description.ports and self._spec.protocol != GAMESTREAM:
            # The link knows the stream by its ports: the kernel gives a host none but those.
            write_sysctl(self._namespace, "ipv4/ip_local_port_range", f"{MEDIA_PORTS[0]} {MEDIA_PORTS[-1]}")
        words = list(self.description.command)
        for occasion, further in self.description.when.items():
            if self._is(occasion):
                words += further
        self._asked_to_end = False
        self._started = self._process_of(self.role, fill(words, self._values()))
        self._place.link.topology.callback(self._started.stop)

    def ready(self) -> None:
        """Wait until it is seen to be ready.

        Raises CapabilityError where it says that it cannot do what it was asked, CheckFailedError where it ends or
        time passes.
        """
        wanted = self.description.ready
        limit_s = wanted.within.seconds * PATIENCE
        if not self.becomes_ready(limit_s):
            self.refuse_unsupported()
            status = self.wait(0.0)
            how = f"was not ready within {limit_s:g} s" if status is None else f"ended with status {status}"
            raise CheckFailedError(
                f"{self.program} {how} (seen by {_shown(wanted)}): {self.last_words()}",
                f"see {self.role}.log",
            )

    def becomes_ready(self, limit_s: float) -> bool:
        """Return whether it is seen to be ready within a time; False at once where it ends before."""
        wanted = self.description.ready
        if wanted.line is not None:
            try:
                if self._process.wait_line(wanted.line, limit_s) is not None:
                    return True
            except TimeoutError:
                return False
            # Its output has ended; that it has, and how, is told a little later.
            self.wait(_END_S)
            return False
        deadline = time.monotonic() + limit_s
        seen: Callable[[], bool] = (
            self._listens if wanted.listens else lambda: self._received() >= (wanted.packets or 1)
        )
        while not seen():
            if not self.running or time.monotonic() >= deadline:
                return seen()
            time.sleep(_POLL_S)
        return True

    def refuse_unsupported(self) -> None:
        """Raise CapabilityError where the program has said that it cannot do what it was asked."""
        if self._started is None:
            return
        refuses = self.description.refuses
        said = self._process.last_match(refuses) if refuses else None
        if said is not None or (self._process.wait(0.0) == UNSUPPORTED and not self._asked_to_end):
            words = said.string if said is not None else f"status {UNSUPPORTED}: {self.last_words()}"
            raise CapabilityError(f"{self.program} says that it cannot: {words}")

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._started is not None and self._started.returncode is None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its own end; return its exit status (128 + n for signal n) or None when it still runs."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it with SIGKILL, and all that it has started."""
        self._asked_to_end = True
        self._process.kill()

    def stop(self) -> int | None:
        """End it and all that it has started; return its exit status where it had ended by itself, else 0."""
        own_end = None if self.running else self._process.returncode
        self._asked_to_end = self._asked_to_end or own_end is None
        self._process.stop()
        return 0 if self._asked_to_end else own_end

    def says_incomplete(self) -> bool:
        """Return whether it has said that frames are missing, which it takes for a failure of its own."""
        line = self.description.incomplete
        return line is not None and self._process.last_match(line) is not None

    def last_words(self) -> str:
        """Return the last line of its output that is not empty."""
        return self._process.last_words()

    def set_bitrate(self, kbps: int) -> None:
        """Raise CapabilityError: a description has no way to say it."""
        raise CapabilityError(
            f"{self.program} cannot be given another bitrate ({kbps} kbit/s) while it streams"
        )

    def set_mode(self, mode: Mode) -> None:
        """Do nothing where it was started with the change; raise CapabilityError where it knows of none."""
        if "mode-change" not in self.description.when:
            raise CapabilityError(
                f"{self.program} has no arguments for a change of mode, here to {mode}",
                "when: mode-change: in its description",
            )

    def stats(self) -> Stats | None:
        """Return None: what a foreign program tells is not counted as our counters are."""

    def records(self) -> Records | None:
        """Return None: it keeps no frame records."""

    def told(self) -> dict[str, int]:
        """Return what its statistics line told last, by the names of ``harness.scenario.foreign.TOLD``."""
        statistics = self.description.statistics
        match = self._process.last_match(statistics.line) if statistics else None
        found = {}
        for name, text in (match.groupdict() if match else {}).items():
            if name in TOLD and text is not None and text.isdecimal() and len(text) < 16:
                found[name] = int(text)
        return found

    def pin(self, limit_s: float) -> str:
        """Return the PIN that a host shows; raise CheckFailedError where none is seen."""
        pairing = self.description.pairing
        assert pairing is not None
        assert pairing.shows is not None
        try:
            match = self._process.wait_line(pairing.shows, limit_s)
        except TimeoutError:
            match = None
        if match is None:
            raise CheckFailedError(
                f"{self.program} showed no PIN: {self.last_words()}", f"see {self.role}.log"
            )
        return match["pin"]

    def run_command(self, what: str, words: list[str], pin: str) -> ForeignProcess:
        """Start another command of the description, such as the one that pairs, beside the peer or without it."""
        return self._process_of(f"{self.role}.{what}", fill(words, self._values() | {"pin": pin}))

    def _process_of(self, name: str, command: list[str]) -> ForeignProcess:
        stop = self.description.stop
        return ForeignProcess(
            name,
            command,
            registration=self._place.link.topology.registration,
            folder=self._place.folder,
            namespace=self._namespace,
            environment=self._environment(),
            stop_signal=signal.Signals[f"SIG{stop.signal}"],
            patience_s=stop.patience.seconds,
            secrets=self.description.secrets,
        )

    def _is(self, occasion: Occasion) -> bool:
        spec = self._spec
        return {
            "open": spec.pairing == "none",
            "pairing": spec.pairing != "none",
            "mode-change": any(event.mode for event in spec.events),
            "unencrypted": not spec.stream.encryption,
            DEFAULT: spec.protocol == DEFAULT,
            GAMESTREAM: spec.protocol == GAMESTREAM,
        }[occasion]

    def _values(self) -> dict[str, object]:
        media, stream = self._spec.media, self._spec.stream
        values: dict[str, object] = {
            "address": self._place.link.host_address.ipv4,
            "port": control_port(self._spec.protocol),
            "codec": media.codec,
            "bitrate_kbps": media.bitrate.kbps,
            "fec": stream.fec_percent,
            "seconds": math.ceil(media.duration_ns / 1e9),
            "frames": media.frame_count,
            "fingerprint": self.pinned,
            "state": self._state,
            "dump": self._own_dump,
            "test": self._place.test,
            "python": sys.executable,
            **_mode_values(media.mode, ""),
        }
        change = next((event for event in self._spec.events if event.mode), None)
        if change is not None and change.mode is not None:
            values |= {**_mode_values(change.mode, "other_"), "change_s": round(change.at.seconds)}
        return values

    def _environment(self) -> dict[str, str]:
        """Return variables that keep the program's own files in this case's folder."""
        home = self._state
        folders = {
            "HOME": home,
            "XDG_CONFIG_HOME": home / "config",
            "XDG_CACHE_HOME": home / "cache",
            "XDG_DATA_HOME": home / "data",
            "XDG_STATE_HOME": home / "state",
            "XDG_RUNTIME_DIR": home / "run",
        }
        for folder in folders.values():
            folder.mkdir(mode=0o700, exist_ok=True)
        given = self.description.environment
        own = dict(zip(given, fill(given.values(), self._values()), strict=True))
        return {name: str(folder) for name, folder in folders.items()} | self._place.environment() | own

    def _listens(self) -> bool:
        port = f":{control_port(self._spec.protocol):04X}"
        kind = self.description.ready.listens

        def inside() -> bool:
            for table in (f"{kind}", f"{kind}6"):
                for line in Path("/proc/thread-self/net", table).read_text(encoding="ascii").splitlines()[1:]:
                    columns = line.split()
                    if columns[1].endswith(port) and (kind == "udp" or columns[3] == _TCP_LISTEN):
                        return True
            return False

        return self._namespace.run(inside)

    def _received(self) -> int:
        return stream_packets(self._place.link.counters()["down"])

    @property
    def _namespace(self) -> Namespace:
        link = self._place.link
        return link.host if self.role == "host" else link.client

    @property
    def _process(self) -> ForeignProcess:
        if self._started is None:
            raise HarnessError(f"the {self.role} has not been started")
        return self._started


def program_of(description: PeerDescription) -> str:
    """Return where a description's program is; raise CapabilityError where it is not on PATH."""
    name = fill(description.command[:1], {"python": sys.executable})[0]
    found = shutil.which(name)
    if found is None:
        raise CapabilityError(f"the program {name} of {description.name} is not on PATH", description.about)
    return found


def stream_packets(counters: Mapping[str, int]) -> int:
    """Return how many packets of the stream a direction of the link has delivered."""
    return counters.get("delivered", 0) - counters.get("other_delivered", 0)


def draw_pin() -> str:
    """Return a PIN of four digits to pair by."""
    return f"{secrets.randbelow(10_000):04d}"


def _mode_values(mode: Mode, prefix: str) -> dict[str, object]:
    return {
        f"{prefix}mode": str(mode),
        f"{prefix}width": mode.width,
        f"{prefix}height": mode.height,
    } | ({} if prefix else {"fps": round(mode.refresh_hz)})


def _shown(wanted: Readiness) -> str:
    if wanted.line is not None:
        return f"a line that matches '{wanted.line}'"
    return f"its {wanted.listens} port" if wanted.listens else f"{wanted.packets} packets at the client"


if TYPE_CHECKING:  # the registry takes it for either, which no type checker would see
    from harness.peers.loading import ClientKind, HostKind

    def _fulfils(kind: CommandKind) -> tuple[HostKind, ClientKind]:
        return kind, kind
