"""Restore tokens of portals: by one the same screen and input are granted again, once, without a question.

A token is used up by its use, and the next one comes with the answer. So there is one for each thing that can be
granted: a desktop, its portal's back end, the kind of session, the name by which the portal knows this program.

A token that cannot be read or kept costs a question more and nothing else, so that no error of this file ends a stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from punktfunk import log
from punktfunk.desktop.portal.started import is_token
from punktfunk.errors import DesktopError, PunktfunkError
from punktfunk.printable import is_printable
from punktfunk.trust.private_file import held_folder, read_private, write_private

GRANTS_FILE: Final = "desktop-grants.json"
SCHEMA_VERSION: Final = 1
MAX_GRANTS: Final = 32
"""A person has a handful of desktops; of more than this the oldest goes."""
_MAX_NAME_CHARACTERS: Final = 200
_MAX_FILE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class GrantKey:
    """What a token is for."""

    desktop: str
    """``XDG_CURRENT_DESKTOP``."""
    portal: str
    """The back end that answers, such as ``gnome``."""
    kind: str
    """The kind of session: :attr:`punktfunk.desktop.portal.choice.Plan.kind`."""
    app: str
    """The name by which the portal knows this program, "" for none."""


class GrantStore:
    """The tokens of one state folder; without a folder they are forgotten with this object."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[GrantKey, str] = {}
        self._log = log.get("desktop.portal")

    @property
    def path(self) -> Path | None:
        """The file that they are kept in."""
        return None if self._folder is None else self._folder / GRANTS_FILE

    def token(self, key: GrantKey) -> str | None:
        """Return the token for ``key``, if one is kept that can be believed."""
        try:
            return self._read().get(key)
        except PunktfunkError as error:
            self._log.warning("what the desktop granted is not believed", cause=error.cause, hint=error.hint)
            return None

    def keep(self, key: GrantKey, token: str | None) -> bool:
        """Put a token in the place of the one that was used up, or nothing; return whether that is on disk."""
        try:
            if self._folder is None:
                self._kept = _with(self._kept, key, token)
                return False
            with held_folder(self._folder, DesktopError):
                self._write(_with(self._read_or_none(), key, token))
        except (PunktfunkError, OSError) as error:
            cause = error.cause if isinstance(error, PunktfunkError) else str(error)
            self._log.warning("what the desktop granted is not kept: it will ask again", cause=cause)
            return False
        return token is not None

    def forget(self) -> list[str]:
        """Remove all tokens, and return those that could be read."""
        tokens = list(self._read_or_none().values())
        self._kept = {}
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        return tokens

    def _read_or_none(self) -> dict[GrantKey, str]:
        """Return what is kept; what cannot be believed is written over: it would be asked for again anyway."""
        try:
            return self._read()
        except PunktfunkError:
            return {}

    def _read(self) -> dict[GrantKey, str]:
        return self._kept if self.path is None else read_grants(self.path)

    def _write(self, grants: Mapping[GrantKey, str]) -> None:
        assert self.path is not None
        document = {
            "schema_version": SCHEMA_VERSION,
            "grants": [
                {**{each.name: getattr(key, each.name) for each in fields(key)}, "token": token}
                for key, token in grants.items()
            ],
        }
        write_private(self.path, (json.dumps(document, indent=2) + "\n").encode())


def read_grants(path: Path) -> dict[GrantKey, str]:
    """Return the tokens of a file, none where there is none; raise DesktopError for one that is not to be believed."""
    raw = read_private(
        path, what="the file of grants", error=DesktopError, limit=_MAX_FILE_BYTES, secret=True
    )
    if raw is None:
        return {}
    try:
        return _parse(raw)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DesktopError(
            f"the file of grants {path} is damaged", f"delete {path}: the desktop asks once more"
        ) from error


def _with(grants: Mapping[GrantKey, str], key: GrantKey, token: str | None) -> dict[GrantKey, str]:
    kept = {each: value for each, value in grants.items() if each != key}
    if token is not None:
        kept[key] = token
    for oldest in list(kept)[: max(0, len(kept) - MAX_GRANTS)]:
        del kept[oldest]
    return kept


def _parse(raw: bytes) -> dict[GrantKey, str]:
    document = json.loads(raw)
    version, grants = document["schema_version"], document["grants"]
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION or not isinstance(grants, list):
        raise ValueError("unknown schema version")
    if len(grants) > MAX_GRANTS:
        raise ValueError("too many grants")
    found = {}
    for grant in grants:
        key = GrantKey(**{each.name: _name(grant[each.name]) for each in fields(GrantKey)})
        if not is_token(grant["token"]):
            raise ValueError("no token")
        found[key] = grant["token"]
    return found


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME_CHARACTERS or not is_printable(value):
        raise TypeError("not a name")
    return value
