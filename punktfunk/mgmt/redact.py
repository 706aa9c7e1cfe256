"""Take out of a log what tells who was there: addresses, fingerprints, names of people and machines.

Secrets are not in the log to begin with (:mod:`punktfunk.log`); this is for a log that goes into a public report.
One address stays recognisable as one throughout: it becomes ``address-1``, ``address-2``, ...
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAMES = frozenset({"name", "names", "client", "hostname", "user"})
_HEX = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{12,}(?![0-9A-Fa-f])")
_FOUR = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.]*[0-9])")
_SIX = re.compile(
    r"(?<![0-9A-Fa-f:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:%[0-9A-Za-z_.-]+)?(?![0-9A-Fa-f:])"
)
_MAC = re.compile(r"(?<![0-9A-Fa-f:])[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f:])")
_HOME = re.compile(r"(/home/|/Users/)[^/\s'\"]+")


class Redaction:
    """Redact the lines of one log; ``names`` are texts that are hidden wherever they stand."""

    def __init__(self, names: Iterable[str]) -> None:
        self._seen: dict[str, str] = {}
        # Longest first: a name may be part of another one. A single letter would take the log apart.
        known = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
        self._names = re.compile("|".join(re.escape(name) for name in known)) if known else None

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a line's fields, without those that are names by their own name."""
        return {name: "(hidden)" if name in _NAMES else value for name, value in fields.items()}

    def text(self, line: str) -> str:
        """Return one line without addresses, long hex numbers, home folders and known names."""
        line = _HOME.sub(r"\1(hidden)", line)
        line = _HEX.sub(lambda found: self._token("fingerprint", found[0].lower()), line)
        line = _MAC.sub(lambda found: self._token("address", found[0].lower()), line)
        line = _FOUR.sub(lambda found: self._token("address", found[0]), line)
        line = _SIX.sub(self._six, line)
        return line if self._names is None else self._names.sub("(hidden)", line)

    def _six(self, found: re.Match[str]) -> str:
        try:
            ipaddress.IPv6Address(found[0].split("%", 1)[0])
        except ValueError:
            return found[0]  # a time of day has colons, too
        return self._token("address", found[0].lower())

    def _token(self, kind: str, value: str) -> str:
        if value not in self._seen:
            count = sum(token.startswith(kind) for token in self._seen.values())
            self._seen[value] = f"{kind}-{count + 1}"
        return self._seen[value]
