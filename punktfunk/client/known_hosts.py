"""The hosts that this client has paired with: where they were, and the certificate that the PIN proved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from punktfunk.errors import TrustStoreError
from punktfunk.trust.identity import parse_fingerprint
from punktfunk.trust.private_file import held_folder, read_private, write_private

FILE_NAME = "known-hosts.json"
MAX_HOSTS = 1024
MAX_FILE_BYTES = 1 << 20
"""Of the file: a host takes some 200 bytes."""


class KnownHost(BaseModel):
    """A host that was paired with, at the address that was dialled then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str
    port: Annotated[int, Field(ge=1, le=65535)]
    fingerprint: str
    paired_unix_s: int = 0

    @field_validator("fingerprint")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return parse_fingerprint(value)


class _File(BaseModel):
    schema_version: Literal[1] = 1
    hosts: list[KnownHost] = []


class KnownHosts:
    """Read and write one state folder's list. Raises ``TrustStoreError`` where that cannot be done."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE_NAME
        self._hosts = self._load()

    def all(self) -> tuple[KnownHost, ...]:
        """Return every host, oldest first."""
        return tuple(self._hosts)

    def pin_for(self, address: tuple[str, int]) -> str | None:
        """Return the fingerprint that the host at that address has to show, ``None`` for an unknown one."""
        for host in self._hosts:
            if (host.address, host.port) == address:
                return host.fingerprint
        return None

    def remember(self, address: tuple[str, int], fingerprint: str) -> KnownHost:
        """Keep a host that was just paired with; it replaces what was known at that address."""
        entry = KnownHost(
            address=address[0], port=address[1], fingerprint=fingerprint, paired_unix_s=int(time.time())
        )
        try:
            with held_folder(self.path.parent, TrustStoreError):
                # Another pairing may have added its host since this list was read.
                others = [host for host in self._load() if (host.address, host.port) != address]
                hosts = [*others, entry][-MAX_HOSTS:]
                write_private(self.path, _File(hosts=hosts).model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise TrustStoreError(
                f"cannot write {self.path}: {error.strerror}",
                "the host has paired this device; free some space, then pair again or pin its fingerprint",
            ) from error
        self._hosts = hosts
        return entry

    def _load(self) -> list[KnownHost]:
        raw = read_private(
            self.path, what="the list of known hosts", error=TrustStoreError, limit=MAX_FILE_BYTES
        )
        if raw is None:
            return []
        try:
            return _File.model_validate_json(raw).hosts
        except ValidationError as error:
            raise TrustStoreError(
                f"the list of known hosts {self.path} cannot be read: it is damaged",
                "move it aside and pair again, or name another --state-dir",
            ) from error
