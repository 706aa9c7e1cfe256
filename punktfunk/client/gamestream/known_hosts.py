"""The GameStream hosts that this client has paired with: where they were, and the certificate that each has to show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, field_validator

from punktfunk.client.host_list import HostFile, HostList, ListedHost
from punktfunk.errors import UntrustedPeerError

MAX_CERTIFICATE = 16_384
"""Characters of a certificate's PEM; one with an RSA key of 2048 bits takes 1000."""


class PairedHost(ListedHost):
    """A host that was paired with, by its certificate."""

    name: str
    unique_id: str
    certificate: Annotated[str, Field(max_length=MAX_CERTIFICATE)]
    """PEM."""

    @field_validator("certificate")
    @classmethod
    def _readable(cls, value: str) -> str:
        x509.load_pem_x509_certificate(value.encode())
        return value

    @property
    def certificate_der(self) -> bytes:
        """The certificate, as TLS shows it."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).public_bytes(Encoding.DER)


class PairedHosts(HostList[PairedHost]):
    """Read and write one state folder's list. Raises ``TrustStoreError`` where that cannot be done."""

    file_name = "gamestream-hosts.json"
    what = "the list of GameStream hosts"
    max_hosts = 256
    max_file_bytes = max_hosts * 2 * MAX_CERTIFICATE

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir, HostFile[PairedHost])

    def at(self, address: tuple[str, int]) -> PairedHost:
        """Return the host at an address; raise ``UntrustedPeerError`` for one that was not paired with."""
        if (host := self.find(address)) is not None:
            return host
        where = f"{address[0]}:{address[1]}"
        raise UntrustedPeerError(
            f"no GameStream host at {where} has been paired with", f"punktfunk gamestream pair {where}"
        )

    def remember(self, host: PairedHost) -> None:
        """Keep a host that was just paired with; it replaces what was known at its address."""
        self.keep(host)
