"""Who is let in: the trust list, pairing and open trust, as the native host's sessions ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from punktfunk import log
from punktfunk.clock import monotonic_ns, realtime_ns
from punktfunk.errors import PairingRefusedError, TrustStoreError, UntrustedPeerError
from punktfunk.host.native.pairing import WIRE, Attempt, NativePairing
from punktfunk.log_limit import LineWriter
from punktfunk.native.dialect import CloseCode
from punktfunk.native.messages import PairChallenge, PairProof, PairRequest, PairResult
from punktfunk.native.quic import Peer
from punktfunk.trust.open_trust import OpenTrust, require_open_trust

_S = 1_000_000_000


class HostAdmission:
    """Judge peers by certificate first, then by where they come from when trust is open.

    ``pairing`` is shared with whoever operates it; without one a PairRequest finds nothing armed.
    """

    def __init__(self, trusted: Iterable[str], open_trust: OpenTrust, pairing: NativePairing | None) -> None:
        self.pairing = pairing
        self._trusted = frozenset(trusted)
        self._open_trust = open_trust
        self._log = log.get("host.admission")

    def known(self, fingerprint: str | None) -> bool:
        """Return whether a certificate is paired, or named in the configuration."""
        if fingerprint is None:
            return False
        paired = self.pairing is not None and self.pairing.trust.find(fingerprint) is not None
        return paired or fingerprint in self._trusted

    def refusal(self, peer: Peer) -> CloseCode | None:
        """Return why a peer is not let in, ``None`` when it is."""
        if self.known(peer.fingerprint):
            return None
        if self._open_trust is OpenTrust.NONE:
            return CloseCode.NO_IDENTITY if peer.fingerprint is None else CloseCode.DENIED
        try:
            require_open_trust(self._open_trust, peer.address[0])
        except UntrustedPeerError:
            return CloseCode.DENIED
        return None

    def request_pairing(self, peer: Peer, name: str) -> None:
        """Make the device of a refused client pending, so that somebody may approve it."""
        if self.pairing is not None and peer.fingerprint is not None:
            self.pairing.pending.ask(WIRE, peer.fingerprint, name, peer.address[0], monotonic_ns())

    async def begin_pairing(self, peer: Peer, request: PairRequest) -> tuple[OpenAttempt, PairChallenge]:
        """Spend the PIN on this request and compute the challenge in another thread.

        Raises ``PairingRefusedError`` or ``PairingError`` as :class:`NativePairing` does.
        """
        if self.pairing is None:
            raise PairingRefusedError(
                CloseCode.PAIRING_NOT_ARMED.sentence, close_code=CloseCode.PAIRING_NOT_ARMED
            )
        client_fp = None if peer.fingerprint is None else bytes.fromhex(peer.fingerprint)
        attempt = self.pairing.admit(request, client_fp, peer.address[0], monotonic_ns())
        challenge = await asyncio.to_thread(attempt.challenge, request)
        return OpenAttempt(self.pairing, attempt, self._log), challenge


class OpenAttempt:
    """A ceremony whose challenge is out; see :class:`punktfunk.native.host.PairingAttempt`."""

    def __init__(self, pairing: NativePairing, attempt: Attempt, writer: LineWriter) -> None:
        self._pairing = pairing
        self._attempt = attempt
        self._log = writer

    def finish(self, proof: PairProof) -> PairResult:
        """Judge the proof; on a match the client is on disk when this returns, or the pairing has failed."""
        attempt = self._attempt
        try:
            result = self._pairing.finish(attempt, proof, monotonic_ns(), realtime_ns() // _S)
        except TrustStoreError as error:
            self._log.error("pairing not stored", cause=error.cause, hint=error.hint)
            result = PairResult(0)
        if result.ok:
            self._log.info("paired", fingerprint=attempt.fingerprint, name=attempt.name)
        else:
            self._log.warning("pairing failed", fingerprint=attempt.fingerprint)
        return result
