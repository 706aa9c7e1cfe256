"""What the HTTP servers of GameStream ask of the host: who is paired, what runs, and to start or end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from punktfunk.app import App
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.trust.store import PairedClient


class HttpOwner(Protocol):
    """Implemented by the server of the wire. All but the coroutines return at once: clients poll every 3 seconds.

    What cannot be done raises :class:`~punktfunk.errors.StatusError`, whose status and words the client is shown.
    """

    def paired(self, fingerprint: str) -> PairedClient | None:
        """Return the paired client whose certificate this is (SHA-256 of its DER, lowercase hex)."""

    def running_app(self, client: PairedClient | None) -> int:
        """Return the number of the app that runs as far as a client goes, or one that is not known; 0 when none does.

        It is that from its launch until it is gone.
        """

    def apps(self) -> Sequence[App]:
        """Return what can be launched; never empty."""

    def codec_mask(self) -> int:
        """Return ``ServerCodecModeSupport`` (section 2.2): what the encoders of this machine do now."""

    async def launch(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        """Start an app and publish a session that waits for its client; return ``sessionUrl0``.

        ``local_address`` is the one that the client reached. Raises ``StatusError``: 400 while one runs for it or in
        its place, 403 for a client that cannot encrypt where that is demanded, 404 for an app that there is not, 503
        for what the machine cannot do now.
        """

    async def resume(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        """Publish a session on the app that runs for a client; likewise. Raises ``StatusError`` with 503 for none."""

    async def cancel(self, client: PairedClient) -> None:
        """End the app that runs for a client and every stream of it; returns when it is gone, at once for none."""
