"""The list of hosts that a client has paired with, a file in its state folder; each wire has one of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from punktfunk.errors import TrustStoreError
from punktfunk.trust.private_file import held_folder, read_private, write_private

MAX_NAME = 253
"""Characters of a name that a host is called by."""


class ListedHost(BaseModel):
    """A host that was paired with, at the address that was dialled then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str
    port: Annotated[int, Field(ge=1, le=65535)]
    paired_unix_s: int = 0
    mac: Annotated[str, Field(max_length=17)] = ""
    """Hardware address of its network card, as far as it was ever seen; "" where it was not."""
    called: Annotated[str, Field(max_length=MAX_NAME)] = ""
    """The name that it was dialled by; "" where that was an address."""

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

        def with_it(hosts: list[HostT]) -> list[HostT]:
            return [*(known for known in hosts if known.place != host.place), host][-self.max_hosts :]

        self._rewrite(with_it)
        return host

    def note(self, place: tuple[str, int], *, mac: str = "", called: str = "") -> None:
        """Keep what was learnt of the host at an address beside its pairing: its card, the name that it was dialled by.

        What is "" stays as it was, and so does a list without that host.
        """
        known = self.find(place)
        if known is None:
            return
        learnt = {"mac": mac or known.mac, "called": called or known.called}
        if all(getattr(known, name) == value for name, value in learnt.items()):
            return
        self._rewrite(lambda hosts: [h.model_copy(update=learnt) if h.place == place else h for h in hosts])

    def _rewrite(self, change: Callable[[list[HostT]], list[HostT]]) -> None:
        try:
            with held_folder(self.path.parent, TrustStoreError):
                # Another pairing may have added its host since this list was read.
                hosts = change(self._load())
                content = self._file(hosts=hosts).model_dump_json(indent=2)
                write_private(self.path, content.encode() + b"\n")
        except OSError as error:
            raise TrustStoreError(f"cannot write {self.path}: {error.strerror}", self.unwritten) from error
        self._hosts = hosts

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
