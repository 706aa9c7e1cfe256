"""A desktop as a person streams it, ``punktfunk serve`` and a client as processes, and what their records say.

The host numbers what it captures by the test card's frame marker, the client reads that of what it decodes: a
picture that is not the one that was captured is found, whatever the stamps say. Both ends are on one machine,
so CLOCK_MONOTONIC is one clock.

The host is a peer as others are, though no scenario starts it. Its clients are none: :func:`connect` and
:func:`compare` run one to its end, and nobody has anything to ask of it meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.peers.peer import Role, Stats
from punktfunk.errors import HarnessError, ResultsError
from punktfunk.units import Mode

CARD: Final = "punktfunk testcard"
_COMMAND: Final = (sys.executable, "-m", "punktfunk")
_CLIENT_MARGIN_S: Final = 30.0
_END_LIMIT_S: Final = 10.0
_LAST_LINES: Final = 5
_REPOSITORY: Final = Path(__file__).parents[2]

Column = NDArray[np.int64]


class ServedDesktop:
    """``punktfunk serve --source desktop`` for one stream, in a namespace where one is given.

    A :class:`~harness.peers.peer.Peer`, and a context manager that starts and ends it. Lets in who is in a private
    network; ``program`` is what a desktop of the host's own runs, and None where the options name a running one.
    ``env`` adds to its environment. What it leaves is in ``folder``/host.
    """

    role: ClassVar[Role] = "host"
    program: ClassVar[str] = "punktfunk serve"
    ports: ClassVar[frozenset[int]] = frozenset()

    def __init__(
        self,
        folder: Path,
        *options: str,
        program: str | None = CARD,
        bind: str = "127.0.0.1",
        namespace: Namespace | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.left = folder / "host"
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [
            *(
                *_COMMAND,
                "serve",
                "--source",
                "desktop",
                *(() if program is None else ("--app", program)),
                "--open",
                "--no-gamestream",
                "--no-mdns",
            ),
            *("--mgmt-bind", "127.0.0.1:0"),
            *("--bind", bind, "--native-port", "0", "--state-dir", str(folder / "state"), "--codec", "h264"),
            *("--record", str(self.left), "--sessions", "1", *options),
        ]
        self._errors = folder / "host.log"
        self._namespace, self._env = namespace, env
        self._started: subprocess.Popen[str] | None = None
        self.banner = ""

    def start(self) -> None:
        """Start the program."""
        self._started = _start(self._command, self._errors, self._namespace, self._env)

    def ready(self) -> None:
        """Read its banner; raise HarnessError when it does not come up."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.banner += line
            if line.startswith("next"):
                return
        self._process.wait()
        raise HarnessError(f"punktfunk serve did not come up: {self.banner}{_tail(self._errors)}")

    @property
    def address(self) -> str:
        """``HOST:PORT`` of its native host."""
        return self._find(r"native host\s+(\S+?),? ")

    @property
    def fingerprint(self) -> str:
        """What a client pins."""
        return self._find(r"([0-9a-f]{64})")

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        self._process.send_signal(number)

    def stats(self) -> Stats:
        """Return what its worker counted, once the stream is over; raise ResultsError when it left nothing."""
        return Stats(_json(self.left / "stats.json")["counters"])

    def records(self) -> Records | None:
        """Return its frame records; None when it left none."""
        path = self.left / "records.npz"
        return records.join(host=records.load_npz(path)) if path.is_file() else None

    def end(self) -> str:
        """Wait for its end, ask for it where that takes too long, and return what it printed since."""
        try:
            printed, _ = self._process.communicate(timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)
            printed, _ = self._process.communicate(timeout=_END_LIMIT_S)
        return str(printed)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._started is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def _process(self) -> subprocess.Popen[str]:
        if self._started is None:
            raise HarnessError("punktfunk serve has not been started")
        return self._started

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.banner)
        if found is None:
            raise HarnessError(f"no {pattern!r} in the banner of punktfunk serve: {self.banner}")
        return found[1]


if TYPE_CHECKING:
    from harness.peers.peer import Peer

    def _fulfils(host: ServedDesktop) -> Peer:
        return host


def connect(host: ServedDesktop, folder: Path, mode: Mode, seconds: float, *options: str) -> str:
    """Run ``punktfunk connect`` for that long and return what it printed; its records are in ``folder``/client.

    Raises HarnessError when it fails.
    """
    command = [
        *(*_COMMAND, "connect", host.address, "--pin", host.fingerprint, "--mode", str(mode)),
        *("--seconds", str(seconds), "--record", str(folder / "client"), *options),
        *("--state-dir", str(folder / "client-state")),
    ]
    return _finish(_start(command, folder / "client.log"), folder, seconds)


def compare(
    host: ServedDesktop, folder: Path, mode: Mode, seconds: float, *, every: int, namespace: Namespace | None
) -> str:
    """Run the headless client likewise, and have every so-many-th picture compared with the card (PSNR, SSIM)."""
    config = {
        "address": host.address,
        "pin": host.fingerprint,
        "trust": "lab",
        "mode": str(mode),
        "seconds": seconds,
        "artefacts": str(folder / "client"),
        "reference": {"kind": "testcard"},
        "reference_every": every,
    }
    path = folder / "client.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "punktfunk.client", "--config", str(path)]
    return _finish(_start(command, folder / "client.log", namespace), folder, seconds)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a stream from the first one that showed the card, as columns of one length.

    Times in ns (CLOCK_MONOTONIC), -1 for what did not happen. ``drawn_ns`` and ``number`` are from the frame marker of
    the captured picture's number as the client read it; ``captured_number`` is the host's own reading.
    """

    captured_number: Column
    captured_ns: Column
    encode_end_ns: Column
    sent_first_ns: Column
    complete_ns: Column
    decode_end_ns: Column
    number: Column
    drawn_ns: Column
    concealed: Column
    ssim: NDArray[np.float64]
    """NaN where not compared."""
    queue_dropped: int
    """Frames that the host dropped after capture."""

    @property
    def seconds(self) -> float:
        """From the first capture to the last."""
        return float(self.captured_ns[-1] - self.captured_ns[0]) / 1e9

    @property
    def fps(self) -> float:
        """Different pictures captured a second: one that was given again does not count twice."""
        return (len(np.unique(self.captured_number)) - 1) / self.seconds

    @property
    def not_decoded(self) -> int:
        """Frames that were captured and of which the client has no picture."""
        return int((self.decode_end_ns < 0).sum())

    @property
    def unreadable(self) -> int:
        """Decoded pictures whose frame marker fails its CRC or is not there."""
        return int(((self.decode_end_ns >= 0) & (self.number < 0)).sum())

    @property
    def wrong(self) -> int:
        """Decoded pictures that are not the captured one: another number in the frame marker, or damage concealed."""
        shown = self.decode_end_ns >= 0
        other = shown & (self.number >= 0) & (self.number != self.captured_number)
        return int((other | (shown & (self.concealed != 0))).sum())

    def between(self, begin: str, end: str) -> NDArray[np.float64]:
        """Milliseconds from one stamp to another of every picture that has both."""
        first, last = getattr(self, begin), getattr(self, end)
        both = (first >= 0) & (last >= 0)
        return np.asarray((last - first)[both] / 1e6, dtype=np.float64)

    def freezes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return, of each loss, how long recovery took and for how long the last picture stood, milliseconds.

        Recovery counts from the moment in which the first frame that was lost had been encoded to the end of
        decoding the next picture; losses without a picture before and after are left out.
        """
        shown = self.decode_end_ns >= 0
        recovery, stood = [], []
        for first in np.flatnonzero(~shown[1:] & shown[:-1]) + 1:
            later = np.flatnonzero(shown[first:])
            if len(later):
                back = self.decode_end_ns[first + later[0]]
                recovery.append((back - self.encode_end_ns[first]) / 1e6)
                stood.append((back - self.decode_end_ns[first - 1]) / 1e6)
        return np.array(recovery), np.array(stood)


def pictures(host_folder: Path, client_folder: Path) -> Pictures:
    """Join the records of both ends; what was captured after the client's last picture is left out.

    Raises ResultsError where records are missing or no picture showed the card.
    """
    host = _columns(host_folder / "records.npz")
    received = _columns(client_folder / "records.npz")
    decoded = _columns(client_folder / "decoded.npz")
    with_card = np.flatnonzero(host["source_frame"] >= 0)
    seen = decoded["index"][decoded["decode_end_ns"] >= 0]
    if not len(with_card) or not len(seen):
        raise ResultsError("no picture of the test card was captured, or none was decoded")
    part = slice(int(with_card[0]), int(np.searchsorted(host["index"], seen.max(), side="right")))
    index = host["index"][part]
    complete = np.where(received["status"] == 0, received["complete_ns"], -1)
    time_us = _at(index, decoded["index"], decoded["strip_time_us"])
    number = _at(index, decoded["index"], decoded["strip_frame"])
    similar = np.full(len(index), np.nan)
    if "ssim" in decoded:
        known = dict(zip(decoded["index"].tolist(), decoded["ssim"].tolist(), strict=True))
        similar = np.array([known.get(int(at), np.nan) for at in index])
    return Pictures(
        captured_number=host["source_frame"][part],
        captured_ns=host["captured_ns"][part],
        encode_end_ns=host["encode_end_ns"][part],
        sent_first_ns=host["sent_first_ns"][part],
        complete_ns=_at(index, received["index"], complete),
        decode_end_ns=_at(index, decoded["index"], decoded["decode_end_ns"]),
        number=number,
        drawn_ns=np.where(number >= 0, time_us * 1000, -1),
        concealed=_at(index, decoded["index"], decoded["concealed"]),
        ssim=similar,
        queue_dropped=int((host["status"][part] != 0).sum()),
    )


def _at(wanted: Column, index: Column, values: Column) -> Column:
    """Return the value of each wanted index, -1 where there is none."""
    known = dict(zip(index.tolist(), values.tolist(), strict=True))
    return np.array([known.get(int(at), -1) for at in wanted], dtype=np.int64)


def _columns(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}", "did the stream end in order?") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}", "did the stream end in order?") from error
    return read


def _start(
    command: Sequence[str],
    errors: Path,
    namespace: Namespace | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    def start() -> subprocess.Popen[str]:
        with errors.open("wb") as log:
            return subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_REPOSITORY,
                env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(_REPOSITORY), **(env or {})},
            )

    return start() if namespace is None else namespace.run(start)


def _finish(process: subprocess.Popen[str], folder: Path, seconds: float) -> str:
    try:
        # Its standard input stays open: the headless client ends with it.
        assert process.stdout is not None
        process.wait(seconds + _CLIENT_MARGIN_S)
        printed = process.stdout.read()
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise HarnessError(f"the client did not end: {_tail(folder / 'client.log')}") from None
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if process.returncode != 0:
        raise HarnessError(f"the client ended with {process.returncode}: {_tail(folder / 'client.log')}")
    return printed


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])
