"""Who pairs by GameStream: the devices that wait for their PIN to be typed here, and those that are between phases.

A device that begins stands on the host's one list of pending devices until a person enters the PIN that it shows, for
that device and no other. Each entry is one guess. Nothing here opens a socket or reads a clock: times are
CLOCK_MONOTONIC ns, given by the caller (promises P5, P6).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from punktfunk.attempts import AttemptLimiter
from punktfunk.errors import StatusError, TrustStoreError
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    ClientSecret,
    HostPairing,
    State,
    signing_key,
)
from punktfunk.host.pending import PENDING_LIFE_NS, Pending, PendingClients
from punktfunk.printable import device_name
from punktfunk.trust.identity import Identity
from punktfunk.trust.store import PairedClient

WIRE = "gamestream"
"""The name of GameStream among a host's wires."""

SECOND_NS = 1_000_000_000
MAX_HALF_OPEN = 64
"""Pairings that are between two phases. Those that wait for a PIN are bounded by the list of pending devices, 32 in
all and 4 of a source; the others have had one typed by a person."""
PHASES_LIMIT_NS = 60 * SECOND_NS
"""How long a client may take from its PIN to its last phase; clients take less than a second."""
COOL_DOWN_NS = 2 * SECOND_NS
MAX_COOL_DOWN_NS = 300 * SECOND_NS
"""An address whose guess failed begins no pairing for 2 s, doubled for each further failure, 5 minutes at most."""
MAX_UNIQUE_ID = 64
MAX_PIN_DIGITS = 16
NO_NAME = "Moonlight client"
"""What a device is called that has no name of its own: most say ``roth``, all the same."""
_NOT_A_NAME = frozenset({"", "roth"})

PinOutcome = Literal["taken", "nobody waits", "several wait"]


@dataclass(frozen=True, slots=True)
class PairingKey:
    """Whose pairing it is, until it is done: most clients share one ``uniqueid``, so the address belongs to it."""

    source: str
    unique_id: str

    @classmethod
    def of(cls, query: Mapping[str, str], source: str) -> PairingKey:
        """Read it from a request to ``/pair`` or ``/unpair``. Raises ``StatusError`` (400) without a ``uniqueid``."""
        unique_id = query.get("uniqueid", "")
        if not 0 < len(unique_id) <= MAX_UNIQUE_ID:
            raise StatusError("uniqueid is missing", status=400)
        return cls(source, unique_id)


class HalfOpen:
    """A pairing of one device that has begun and is not over. ``decided`` is set once it need not wait any more."""

    def __init__(self, key: PairingKey, name: str, pairing: HostPairing, until_ns: int) -> None:
        self.key = key
        self.name = name
        self.pairing = pairing
        self.fingerprint = pairing.client.fingerprint
        self.until_ns = until_ns
        self.decided = asyncio.Event()

    @property
    def pin_entered(self) -> bool:
        """Whether its PIN has been entered, so that its first phase may be answered with the host's certificate."""
        return self.pairing.state is State.CERT_SENT


class GameStreamPairing:
    """Pair Moonlight clients with one host identity. Belongs to one event loop.

    Raises ``ConfigError`` for an identity that has no RSA key.
    """

    def __init__(self, pending: PendingClients, identity: Identity) -> None:
        signing_key(identity)
        self.pending = pending
        self.trust = pending.trust
        self.identity = identity
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                ("begun", "paired", "wrong_pin", "refused", "out_of_order", "given_up", "store_failures"), 0
            )
        )
        self.failures = AttemptLimiter(COOL_DOWN_NS, MAX_COOL_DOWN_NS)
        self._half_open: dict[PairingKey, HalfOpen] = {}

    def __len__(self) -> int:
        """Return how many pairings are half open."""
        return len(self._half_open)

    def begin(self, key: PairingKey, name: str, request: BeginPairing, now_ns: int) -> HalfOpen | None:
        """Put a device on the list of those that wait for their PIN; a pairing that it had begun before is over.

        Returns ``None`` when others pair now and there is no place. Raises ``StatusError``: 400 for what is no
        certificate, 403 for a device that was turned away, 503 for an address whose guesses failed.
        """
        self._expire(now_ns)
        wait_ns = self.failures.wait_ns(key.source, now_ns)
        if wait_ns:
            self.counters["refused"] += 1
            raise StatusError(f"wrong PIN before; try again in {-(-wait_ns // SECOND_NS)} s", status=503)
        client = ClientCertificate.parse(request.certificate)
        former = self._half_open.get(key)
        if former is not None:
            self.drop(former)
        if self.pending.is_denied(client.fingerprint, now_ns):
            self.counters["refused"] += 1
            raise StatusError("this device was turned away at the host, for ten minutes", status=403)
        shown = device_name(NO_NAME if name in _NOT_A_NAME else name)
        device = HalfOpen(
            key, shown, HostPairing(self.identity, request.salt, client), now_ns + PENDING_LIFE_NS
        )
        if not self._wait_for_pin(device, now_ns):
            self.counters["refused"] += 1
            return None
        self._half_open[key] = device
        self.counters["begun"] += 1
        return device

    def waiting(self, now_ns: int) -> tuple[Pending, ...]:
        """Return the devices that wait for their PIN, oldest first."""
        return tuple(device for device in self.pending.all(now_ns) if device.wire == WIRE)

    def enter_pin(
        self, pin: str, fingerprint: str | None, now_ns: int, name: str | None = None
    ) -> PinOutcome:
        """Take the PIN that one device shows, the only one that waits or that of this ``fingerprint``.

        ``name`` is what the device is called from now on; it is one guess of the device's, wrong until it has paired.
        """
        waiting = {device.fingerprint for device in self.waiting(now_ns)}
        if fingerprint is None and len(waiting) > 1:
            return "several wait"
        chosen = next(iter(waiting), None) if fingerprint is None else fingerprint.lower()
        device = next((d for d in self._half_open.values() if d.fingerprint == chosen), None)
        if device is None or chosen not in waiting:
            return "nobody waits"
        device.pairing.enter_pin(pin)
        device.name = device.name if name is None else device_name(name)
        device.until_ns = now_ns + PHASES_LIMIT_NS
        self.failures.failed(device.key.source, now_ns)
        self.pending.withdraw(device.fingerprint)
        device.decided.set()
        return "taken"

    def challenge(self, key: PairingKey, request: ClientChallenge, now_ns: int) -> bytes:
        """Answer phase 2. Raises ``StatusError`` (400), as the next two do, when that is not what comes next."""
        device = self._at(key, State.CERT_SENT, now_ns)
        return device.pairing.challenge(request)

    def answer(self, key: PairingKey, request: ChallengeAnswer, now_ns: int) -> bytes:
        """Answer phase 3."""
        device = self._at(key, State.CHALLENGED, now_ns)
        return device.pairing.answer(request)

    def finish(self, key: PairingKey, request: ClientSecret, now_ns: int, unix_s: int) -> bool:
        """Return whether the client is paired now; then it is on disk.

        Raises ``TrustStoreError`` when the list of clients cannot be written: then it is not.
        """
        device = self._at(key, State.SECRET_SENT, now_ns)
        del self._half_open[key]
        if not device.pairing.finish(request):
            self.counters["wrong_pin"] += 1
            return False
        client = device.pairing.client
        try:
            self.trust.add(PairedClient(client.fingerprint, device.name, WIRE, unix_s, client.pem))
        except TrustStoreError:
            self.counters["store_failures"] += 1
            raise
        self.failures.succeeded(key.source)
        self.counters["paired"] += 1
        self.pending.on_change()
        return True

    def cancel(self, key: PairingKey) -> None:
        """End the pairing that a client gives up; never one that is done, since anybody may say so."""
        device = self._half_open.get(key)
        if device is not None:
            self.drop(device)

    def drop(self, device: HalfOpen) -> None:
        """End a half-open pairing, whoever gave it up. One that has ended stays so."""
        if self._half_open.get(device.key) is device:
            del self._half_open[device.key]
            self.counters["given_up"] += 1
        if device.pairing.state is State.WAIT_PIN:
            self.pending.withdraw(device.fingerprint)
        device.pairing.end()
        device.decided.set()

    def _wait_for_pin(self, device: HalfOpen, now_ns: int) -> bool:
        """Put a device on the list; ``False`` when there is no place, or its certificate stands there already.

        A certificate is no secret: whoever shows that of a device that waits must not take its place.
        """
        if len(self._half_open) >= MAX_HALF_OPEN:
            return False
        if any(pending.fingerprint == device.fingerprint for pending in self.pending.all(now_ns)):
            return False
        return self.pending.ask(
            WIRE,
            device.fingerprint,
            device.name,
            device.key.source,
            now_ns,
            on_gone=lambda: self._gone(device),
        )

    def _gone(self, device: HalfOpen) -> None:
        """End the pairing of a device that was turned away, or for which nobody had a PIN in time."""
        self._half_open.pop(device.key, None)
        device.pairing.end()
        device.decided.set()

    def _at(self, key: PairingKey, state: State, now_ns: int) -> HalfOpen:
        """Return the pairing that is in this state; anything else that this client has is over."""
        self._expire(now_ns)
        device = self._half_open.get(key)
        if device is not None and device.pairing.state is state:
            return device
        self.counters["out_of_order"] += 1
        if device is not None:
            self.drop(device)
        raise StatusError("this phase of pairing is out of order", status=400)

    def _expire(self, now_ns: int) -> None:
        for device in [d for d in self._half_open.values() if now_ns >= d.until_ns]:
            self.drop(device)
