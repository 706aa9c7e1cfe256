"""The hosts that this client has paired with: where they were, and the certificate that the PIN proved."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from punktfunk.client.host_list import HostFile, HostList, ListedHost
from punktfunk.trust.identity import parse_fingerprint


class KnownHost(ListedHost):
    """A host that was paired with, by its fingerprint."""

    fingerprint: str

    @field_validator("fingerprint")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return parse_fingerprint(value)


class KnownHosts(HostList[KnownHost]):
    """Read and write one state folder's list. Raises ``TrustStoreError`` where that cannot be done."""

    file_name = "known-hosts.json"
    what = "the list of known hosts"
    max_hosts = 1024
    max_file_bytes = 1 << 20
    """A host takes some 200 bytes."""
    unwritten = "the host has paired this device; free some space, then pair again or pin its fingerprint"

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir, HostFile[KnownHost])

    def pin_for(self, address: tuple[str, int]) -> str | None:
        """Return the fingerprint that the host at that address has to show, ``None`` for an unknown one."""
        known = self.find(address)
        return known.fingerprint if known else None

    def remember(self, address: tuple[str, int], fingerprint: str) -> KnownHost:
        """Keep a host that was just paired with; it replaces what was known at that address."""
        return self.keep(KnownHost(address=address[0], port=address[1], fingerprint=fingerprint))
