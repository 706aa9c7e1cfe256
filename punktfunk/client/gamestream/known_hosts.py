"""The GameStream hosts that this client has paired with: where they were, and the certificate that each has to show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from punktfunk.errors import TrustStoreError, UntrustedPeerError
from punktfunk.trust.private_file import held_folder, read_private, write_private

FILE_NAME = "gamestream-hosts.json"
MAX_HOSTS = 256
MAX_CERTIFICATE = 16_384
"""Characters of a certificate's PEM; one with an RSA key of 2048 bits takes 1000."""
MAX_FILE_BYTES = MAX_HOSTS * 2 * MAX_CERTIFICATE


class PairedHost(BaseModel):
    """A host that was paired with, at the address that was dialled then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str
    port: Annotated[int, Field(ge=1, le=65535)]
    name: str
    unique_id: str
    certificate: Annotated[str, Field(max_length=MAX_CERTIFICATE)]
    """PEM."""
    paired_unix_s: int = 0

    @field_validator("certificate")
    @classmethod
    def _readable(cls, value: str) -> str:
        x509.load_pem_x509_certificate(value.encode())
        return value

    @property
    def certificate_der(self) -> bytes:
        """The certificate, as TLS shows it."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).public_bytes(Encoding.DER)


class _File(BaseModel):
    schema_version: Literal[1] = 1
    hosts: list[PairedHost] = []


class PairedHosts:
    """Read and write one state folder's list. Raises ``TrustStoreError`` where that cannot be done."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE_NAME
        self._hosts = self._load()

    def at(self, address: tuple[str, int]) -> PairedHost:
        """Return the host at an address; raise ``UntrustedPeerError`` for one that was not paired with."""
        for host in self._hosts:
            if (host.address, host.port) == address:
                return host
        where = f"{address[0]}:{address[1]}"
        raise UntrustedPeerError(
            f"no GameStream host at {where} has been paired with", f"punktfunk gamestream pair {where}"
        )

    def remember(self, host: PairedHost) -> None:
        """Keep a host that was just paired with; it replaces what was known at its address."""
        host = host.model_copy(update={"paired_unix_s": int(time.time())})
        try:
            with held_folder(self.path.parent, TrustStoreError):
                # Another pairing may have added its host since this list was read.
                others = [
                    known
                    for known in self._load()
                    if (known.address, known.port) != (host.address, host.port)
                ]
                hosts = [*others, host][-MAX_HOSTS:]
                write_private(self.path, _File(hosts=hosts).model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise TrustStoreError(
                f"cannot write {self.path}: {error.strerror}", "free some space, then pair again"
            ) from error
        self._hosts = hosts

    def _load(self) -> list[PairedHost]:
        raw = read_private(
            self.path, what="the list of GameStream hosts", error=TrustStoreError, limit=MAX_FILE_BYTES
        )
        if raw is None:
            return []
        try:
            return _File.model_validate_json(raw).hosts
        except ValidationError as error:
            raise TrustStoreError(
                f"the list of GameStream hosts {self.path} cannot be read: it is damaged",
                "move it aside and pair again, or name another --state-dir",
            ) from error
