"""The list of hosts that a client has paired with, a file in its state folder; each wire has one of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from punktfunk.errors import TrustStoreError
from punktfunk.trust.private_file import held_folder, read_private, write_private


class ListedHost(BaseModel):
    """A host that was paired with, at the address that was dialled then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str
    port: Annotated[int, Field(ge=1, le=65535)]
    paired_unix_s: int = 0

    @property
    def place(self) -> tuple[str, int]:
        """Where it was."""
        return self.address, self.port


HostT = TypeVar("HostT", bound=ListedHost)


class HostFile(BaseModel, Generic[HostT]):
    """What the file holds."""

    schema_version: Literal[1] = 1
    hosts: list[HostT] = []


class HostList(Generic[HostT]):
    """Read and write one state folder's list. Raises ``TrustStoreError`` where that cannot be done.

    A wire's list says of which entries it is and where its bounds are.
    """

    file_name: ClassVar[str]
    what: ClassVar[str]
    """What errors call the list."""
    max_hosts: ClassVar[int]
    """One more drops the oldest."""
    max_file_bytes: ClassVar[int]
    unwritten: ClassVar[str] = "free some space, then pair again"
    """What to do where a host was paired with and could not be kept."""

    def __init__(self, state_dir: Path, file: type[HostFile[HostT]]) -> None:
        self.path = state_dir / self.file_name
        self._file = file
        self._hosts = self._load()

    def all(self) -> tuple[HostT, ...]:
        """Return every host, oldest first."""
        return tuple(self._hosts)

    def find(self, address: tuple[str, int]) -> HostT | None:
        """Return the host at an address, ``None`` where none was paired with."""
        return next((host for host in self._hosts if host.place == address), None)

    def keep(self, host: HostT) -> HostT:
        """Keep a host that was just paired with, and when; it replaces what was known at its address."""
        host = host.model_copy(update={"paired_unix_s": int(time.time())})
        try:
            with held_folder(self.path.parent, TrustStoreError):
                # Another pairing may have added its host since this list was read.
                others = [known for known in self._load() if known.place != host.place]
                hosts = [*others, host][-self.max_hosts :]
                content = self._file(hosts=hosts).model_dump_json(indent=2)
                write_private(self.path, content.encode() + b"\n")
        except OSError as error:
            raise TrustStoreError(f"cannot write {self.path}: {error.strerror}", self.unwritten) from error
        self._hosts = hosts
        return host

    def _load(self) -> list[HostT]:
        raw = read_private(self.path, what=self.what, error=TrustStoreError, limit=self.max_file_bytes)
        if raw is None:
            return []
        try:
            return self._file.model_validate_json(raw).hosts
        except ValidationError as error:
            raise TrustStoreError(
                f"{self.what} {self.path} cannot be read: it is damaged",
                "move it aside and pair again, or name another --state-dir",
            ) from error
