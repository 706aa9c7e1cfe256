"""Tables of the keys that a file may have, made from the models that it is validated against."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from harness.scenario.validation import unwrap

Sections: TypeAlias = Sequence[tuple[str, type[BaseModel]]]
"""Titles of a page's sections and the models whose keys they list."""

_WORDS = {
    "int": "whole number",
    "float": "number",
    "bool": "`true`, `false`",
    "str": "text",
    "Path": "path",
    "DataSize": "data size",
    "Bitrate": "bit rate",
}


def row(name: str, field: FieldInfo, sections: Sections) -> str:
    """Return a key's row: name, what it takes, its default, what it is for."""
    default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
    extra = field.json_schema_extra
    if any(isinstance(each, WithJsonSchema) for each in field.metadata):
        return f"| `{name}` | text | {default} | {_cell(field.description or '')} |"
    # A text with a list of known words, such as the protocol's.
    words = extra.get("enum") if isinstance(extra, dict) else None
    kind = (
        ", ".join(f"`{word}`" for word in words)
        if isinstance(words, list)
        else _kind(field.annotation, sections)
    )
    return f"| `{name}` | {_cell(kind)} | {default} | {_cell(field.description or '')} |"


def _default(value: Any) -> str:
    if value is None or isinstance(value, BaseModel) or value in ("", [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(annotation: Any, sections: Sections) -> str:
    """Write a type in a word: the quantities' name, the choices of a literal, or what it is."""
    kind = unwrap(annotation)
    inner = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is list:
        return f"list of {_kind(inner[0], sections)}"
    if origin is dict:
        return "mapping"
    if issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if issubclass(kind, BaseModel):
        anchor = next((_anchor(title) for title, model in sections if model is kind), "")
        return f"[{kind.__name__}](#{anchor})" if anchor else "comparison"
    name = str(kind.__name__)
    return _WORDS.get(name, name.lower())


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
