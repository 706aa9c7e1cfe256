"""The target of a request, as clients write it: a path and named parameters (gamestream section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from punktfunk.errors import StatusError

MAX_FIELDS = 64
"""Parameters of one request; clients send some twenty."""

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for. Of a parameter that stands there twice the first counts."""

    path: str
    query: Mapping[str, str]

    @classmethod
    def parse(cls, target: bytes) -> Target:
        """Read a request target; bytes that are no UTF-8 become replacement characters.

        Raises :class:`~punktfunk.errors.StatusError` with status 400 for more than :data:`MAX_FIELDS` parameters. Its
        length is for the caller to bound.
        """
        path, _, text = target.partition(b"?")
        try:
            fields = parse_qsl(
                text.decode(errors="replace"),
                keep_blank_values=True,
                max_num_fields=MAX_FIELDS,
                errors="replace",
            )
        except ValueError:
            raise StatusError(f"more than {MAX_FIELDS} parameters", status=400) from None
        query: dict[str, str] = {}
        for name, value in fields:
            query.setdefault(name, value)
        return cls(path.decode(errors="replace"), query)


def hex_field(query: Mapping[str, str], name: str, *, least: int, most: int) -> bytes:
    """Return a binary parameter, hex text of either case, that has ``least`` to ``most`` bytes.

    Raises :class:`~punktfunk.errors.StatusError` with status 400.
    """
    text = query.get(name, "")
    if not 2 * least <= len(text) <= 2 * most:
        raise StatusError(f"{name} is not {least} to {most} bytes long", status=400)
    # Python's own reading skips white space; a value has one spelling here.
    if len(text) % 2 or not _HEX_DIGITS.issuperset(text):
        raise StatusError(f"{name} is not hex", status=400)
    return bytes.fromhex(text)
