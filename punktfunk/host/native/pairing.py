"""Pairing by a PIN that the host shows: arm, read it, judge a client's proof (promises P5, P6).

One :class:`NativePairing` is shared by the native host and the management API. It has no I/O of its own but the
trust store's file, reads no clock (times are CLOCK_MONOTONIC ns, given by the caller) and takes its randomness from
the caller or from :mod:`secrets`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from punktfunk.attempts import AttemptLimiter
from punktfunk.errors import PairingRefusedError, TrustStoreError, UsageError
from punktfunk.host.pending import PendingClients
from punktfunk.native.control import PROOF_WAIT_NS
from punktfunk.native.dialect import CloseCode
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest, PairResult
from punktfunk.native.pairing import HostCeremony
from punktfunk.printable import device_name
from punktfunk.trust.store import PairedClient

WIRE = "native"
"""The name of punktfunk/1 among a host's wires."""

SECOND_NS = 1_000_000_000

MIN_WINDOW_S, DEFAULT_WINDOW_S, MAX_WINDOW_S = 15, 120, 600
"""How long a PIN stays armed (punktfunk/1 section 8, ``POST /native/pair/arm``)."""

COOL_DOWN_NS = 2 * SECOND_NS
"""At most one SPAKE2 computation in this time, whoever asks (section 6.1)."""

SOURCE_COOL_DOWN_NS = 10 * SECOND_NS
MAX_SOURCE_COOL_DOWN_NS = 300 * SECOND_NS
"""An address whose guess failed waits 10 s, doubled for each further failure, 5 minutes at most."""


@dataclass(frozen=True, slots=True)
class PairingWindow:
    """An armed PIN."""

    pin: str
    until_ns: int
    bound_to: str | None


class Attempt:
    """One ceremony between its request and its proof."""

    def __init__(
        self, ceremony: HostCeremony, fingerprint: str, name: str, source: str, deadline_ns: int
    ) -> None:
        self.ceremony = ceremony
        self.fingerprint = fingerprint
        self.name = name
        self.source = source
        self.deadline_ns = deadline_ns

    def challenge(self, request: PairRequest) -> PairChallenge:
        """Do the SPAKE2 computation, some 20 ms of it; touches nothing but this attempt, so any thread may.

        Raises :class:`~punktfunk.errors.PairingError` for a message that is no SPAKE2 point.
        """
        return self.ceremony.challenge(request)


class NativePairing:
    """Operate pairing for one host identity; ``host_fingerprint`` is the SHA-256 of its certificate's DER."""

    def __init__(
        self,
        pending: PendingClients,
        host_fingerprint: bytes,
        *,
        pin_digits: int = 4,
        draw: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self.use_digits(pin_digits)
        self.pending = pending
        self.trust = pending.trust
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "challenges",
                "paired",
                "wrong_pin",
                "refused",
                "proofs_late",
                "store_failures",
            ),
            0,
        )
        self.on_change: Callable[[], None] = lambda: None
        """Called when the window or (by pairing one) the paired devices are others."""
        self._host_fp = host_fingerprint
        self._draw = draw
        self._window: PairingWindow | None = None
        self._next_ns = 0
        self.failures = AttemptLimiter(SOURCE_COOL_DOWN_NS, MAX_SOURCE_COOL_DOWN_NS)

    def use_digits(self, pin_digits: int) -> None:
        """Draw PINs of 4 or 6 digits from the next one on; raise ``UsageError`` for another number."""
        if pin_digits not in (4, 6):
            raise UsageError(f"a PIN of {pin_digits} digits is not offered", "choose 4 (every client) or 6")
        self._digits = pin_digits

    # --- the window ---------------------------------------------------------------------------------------

    def arm(
        self, now_ns: int, seconds: int = DEFAULT_WINDOW_S, *, bound_to: str | None = None
    ) -> PairingWindow:
        """Open a window with a fresh uniform PIN; one that was open is replaced.

        ``seconds`` is clamped to 15..600. ``bound_to`` lets only the device of that fingerprint try.
        """
        seconds = min(max(seconds, MIN_WINDOW_S), MAX_WINDOW_S)
        pin = f"{self._draw(10**self._digits):0{self._digits}d}"
        # An empty text names no device, so it lets none in: only None means any.
        bound_to = None if bound_to is None else bound_to.lower()
        self._window = PairingWindow(pin, now_ns + seconds * SECOND_NS, bound_to)
        self.on_change()
        return self._window

    def disarm(self) -> None:
        """Close the window; a ceremony whose challenge is out may still finish."""
        self._window = None
        self.on_change()

    def window(self, now_ns: int) -> PairingWindow | None:
        """Return the armed window, or ``None`` when there is none or it has run out."""
        if self._window is not None and now_ns >= self._window.until_ns:
            self._window = None
        return self._window

    # --- the ceremony -------------------------------------------------------------------------------------

    def begin(
        self, request: PairRequest, client_fp: bytes | None, source: str, now_ns: int
    ) -> tuple[Attempt, PairChallenge]:
        """Answer a PairRequest; the PIN is spent when this returns.

        Raises :class:`~punktfunk.errors.PairingRefusedError`, which carries the close code, before anything costly
        was computed, and :class:`~punktfunk.errors.PairingError` for a message that is no SPAKE2 point (which spends
        the PIN too: it was a try).
        """
        attempt = self.admit(request, client_fp, source, now_ns)
        return attempt, attempt.challenge(request)

    def admit(self, request: PairRequest, client_fp: bytes | None, source: str, now_ns: int) -> Attempt:
        """Give the PIN to one request, without the computation: that is :meth:`Attempt.challenge`.

        Raises :class:`~punktfunk.errors.PairingRefusedError`, and then nothing is spent.
        """
        window, client_fp = self._admit(client_fp, source, now_ns)
        self._window = None
        self.on_change()
        self._next_ns = now_ns + COOL_DOWN_NS
        self.counters["challenges"] += 1
        ceremony = HostCeremony(window.pin, client_fp, self._host_fp)
        # A client that never sends its proof has used its guess, so it counts as failed until it succeeds.
        self.failures.failed(source, now_ns)
        return Attempt(ceremony, client_fp.hex(), device_name(request.name), source, now_ns + PROOF_WAIT_NS)

    def finish(self, attempt: Attempt, proof: PairProof, now_ns: int, unix_s: int) -> PairResult:
        """Check the proof; on a match the client is on disk before it is told so.

        Raises ``TrustStoreError`` when the store cannot be written: the client is not paired then, and has to be told.
        """
        if now_ns >= attempt.deadline_ns:
            self.counters["proofs_late"] += 1
            return PairResult(0)
        result = attempt.ceremony.verify(proof)
        if not result.ok:
            self.counters["wrong_pin"] += 1
            return result
        try:
            self.trust.add(PairedClient(attempt.fingerprint, attempt.name, WIRE, unix_s))
        except TrustStoreError:
            self.counters["store_failures"] += 1
            raise
        self.failures.succeeded(attempt.source)
        self.pending.resolve(attempt.fingerprint)
        self.counters["paired"] += 1
        self.on_change()
        return result

    def _admit(self, client_fp: bytes | None, source: str, now_ns: int) -> tuple[PairingWindow, bytes]:
        window = self.window(now_ns)
        if window is None:
            raise self._refusal(CloseCode.PAIRING_NOT_ARMED)
        if client_fp is None:
            raise self._refusal(CloseCode.NO_IDENTITY)
        if window.bound_to not in (None, client_fp.hex()):
            raise self._refusal(CloseCode.WINDOW_BOUND)
        if now_ns < self._next_ns or self.failures.wait_ns(source, now_ns):
            raise self._refusal(CloseCode.RATE_LIMITED)
        return window, client_fp

    def _refusal(self, code: CloseCode) -> PairingRefusedError:
        self.counters["refused"] += 1
        return PairingRefusedError(code.sentence, close_code=int(code))

    def next_expiry_ns(self, now_ns: int) -> int | None:
        """Return when the window or a pending device runs out by itself; ``None`` while neither is there."""
        window = self.window(now_ns)
        times = (None if window is None else window.until_ns, self.pending.next_expiry_ns(now_ns))
        return min((time for time in times if time is not None), default=None)
