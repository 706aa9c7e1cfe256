"""The one list of paired clients, whatever wire they came by (promise P7).

The list is a small JSON file. A change is on disk, synced and renamed into place before anybody is told that it
happened; a change that could not be written is an error to whoever asked for it and leaves the list as it was.
A file that cannot be read is never taken for an empty list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from punktfunk.errors import TrustStoreError
from punktfunk.printable import device_name
from punktfunk.trust.private_file import read_private, write_private

SCHEMA_VERSION = 1
MAX_CLIENTS = 1024
"""Cap of the list: a paired client needs a person's consent, so no honest list comes near it."""

MAX_FILE_BYTES = 8 << 20
"""Of the file: a client takes some 2 KiB with its certificate."""

RemovalListener = Callable[[str], None]

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_WIRE = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class PairedClient:
    """A client that may stream: SHA-256 of its certificate's DER, lowercase hex, and a name for people."""

    fingerprint: str
    name: str
    wire: str
    """Over which wire it paired: ``native`` (punktfunk/1), ``gamestream``."""
    paired_unix_s: int
    certificate_pem: str = ""
    """GameStream clients' certificate, which their TLS handshake is checked against."""


class TrustStore:
    """Hold the paired clients of one state directory.

    Not safe for use from several threads: it belongs to the host's event loop. Raises
    :class:`~punktfunk.errors.TrustStoreError` when the file cannot be read or understood.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listeners: list[RemovalListener] = []
        self._clients = self._load()

    def clients(self, wire: str | None = None) -> tuple[PairedClient, ...]:
        """Return the paired clients, oldest first."""
        return tuple(c for c in self._clients.values() if wire in (None, c.wire))

    def find(self, fingerprint: str) -> PairedClient | None:
        """Return the client with this fingerprint (any case), or ``None``."""
        return self._clients.get(fingerprint.lower())

    def add(self, client: PairedClient) -> None:
        """Pair a client, replacing an entry of the same fingerprint; on disk when this returns."""
        if not _FINGERPRINT.fullmatch(client.fingerprint):
            raise TrustStoreError(
                f"'{client.fingerprint[:80]}' is not a SHA-256 fingerprint in lowercase hex"
            )
        if not _WIRE.fullmatch(client.wire):
            raise TrustStoreError(f"'{client.wire[:80]}' is no name of a wire")
        if client.fingerprint not in self._clients and len(self._clients) >= MAX_CLIENTS:
            raise TrustStoreError(f"{MAX_CLIENTS} clients are paired already", "unpair one that is not used")
        self._replace({**self._clients, client.fingerprint: client})

    def remove(self, fingerprint: str) -> bool:
        """Unpair a client; on disk when this returns, and then its live sessions are told to end.

        Returns ``False`` when no such client is paired.
        """
        key = fingerprint.lower()
        if key not in self._clients:
            return False
        self._replace({k: v for k, v in self._clients.items() if k != key})
        for listener in tuple(self._listeners):
            listener(key)
        return True

    def on_removal(self, listener: RemovalListener) -> Callable[[], None]:
        """Call ``listener(fingerprint)`` after each removal; returns the function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _replace(self, clients: dict[str, PairedClient]) -> None:
        entries = [_entry(client) for client in clients.values()]
        text = (
            json.dumps({"schema_version": SCHEMA_VERSION, "clients": entries}, indent=2, ensure_ascii=False)
            + "\n"
        )
        _write_atomically(self.path, text.encode())
        self._clients = clients

    def _load(self) -> dict[str, PairedClient]:
        raw = read_private(
            self.path, what="the list of paired clients", error=TrustStoreError, limit=MAX_FILE_BYTES
        )
        if raw is None:
            return {}
        try:
            return _parse(raw)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            aside = self.path.with_name(f"{self.path.name}.corrupt-{hashlib.sha256(raw).hexdigest()[:8]}")
            _write_atomically(aside, raw)
            raise TrustStoreError(
                f"the list of paired clients {self.path} is damaged ({error}); a copy is kept in {aside.name}",
                f"restore it from a backup, or delete {self.path} to start with no paired client",
            ) from error


def _entry(client: PairedClient) -> dict[str, str | int]:
    return {
        "fingerprint": client.fingerprint,
        "name": client.name,
        "plane": client.wire,
        "paired_unix_s": client.paired_unix_s,
        "certificate_pem": client.certificate_pem,
    }


def _parse(raw: bytes) -> dict[str, PairedClient]:
    document = json.loads(raw)
    if not isinstance(document, dict):
        raise TypeError("not an object")
    version = document["schema_version"]
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"schema version {version!r} is not known to this release")
    if not isinstance(document["clients"], list):
        raise TypeError("the clients are not a list")  # an empty object or text would pass for no clients
    clients: dict[str, PairedClient] = {}
    for entry in document["clients"]:
        client = PairedClient(
            fingerprint=str(entry["fingerprint"]).lower(),
            name=device_name(str(entry["name"])),
            wire=_wire(entry.get("plane", "native")),
            paired_unix_s=int(entry.get("paired_unix_s", 0)),
            certificate_pem=str(entry.get("certificate_pem", "")),
        )
        if not client.certificate_pem.isascii():  # what cannot be written again is no PEM
            raise ValueError("an entry's certificate is no PEM")
        if not _FINGERPRINT.fullmatch(client.fingerprint):
            raise ValueError("an entry has no SHA-256 fingerprint")
        clients[client.fingerprint] = client
    return clients


def _wire(value: object) -> str:
    if not isinstance(value, str) or not _WIRE.fullmatch(value):
        raise ValueError("an entry's plane is no name")
    return value


def _write_atomically(path: Path, data: bytes) -> None:
    try:
        write_private(path, data)
    except OSError as error:
        raise TrustStoreError(
            f"cannot write {path}: {error.strerror}",
            "free some space or fix the mode of its folder; nothing was changed",
        ) from error
