"""Translate what pydantic finds wrong into problems with a position and a hint."""

from __future__ import annotations

import re
import typing
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harness.scenario.diagnostics import Position, Problem, did_you_mean, one_of
from harness.scenario.document import Node
from harness.scenario.link import MisfitError
from punktfunk.errors import PunktfunkError

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "path_type": "a path",
}
_LIMIT = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def problems_of(error: ValidationError, model: type[BaseModel], tree: Node) -> list[Problem]:
    """Return one problem for each thing that ``error`` says about ``tree``, at the nearest position."""
    return [_problem(detail, model, tree) for detail in error.errors(include_url=False)]


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys that a mapping of this model may have, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _problem(detail: Any, model: type[BaseModel], tree: Node) -> Problem:  # noqa: PLR0911 - one a kind
    loc: tuple[str | int, ...] = detail["loc"]
    kind: str = detail["type"]
    ctx: dict[str, Any] = detail.get("ctx", {})
    where = _dotted(loc)
    node = tree.find(loc)
    if kind == "extra_forbidden":
        owner = _model_at(model, loc[:-1])
        known = known_keys(owner) if owner else []
        inside = f" in {_dotted(loc[:-1])}" if len(loc) > 1 else ""
        at = _key_position(tree, loc)
        hint = did_you_mean(str(loc[-1]), known, otherwise=f"known keys: {', '.join(known)}")
        return Problem(at, f"unknown key '{loc[-1]}'{inside}", hint)
    if kind == "missing":
        return Problem(node.key_at or node.at, f"{_dotted(loc[:-1]) or 'the scenario'} wants '{loc[-1]}:'")
    if kind == "value_error":
        cause = ctx.get("error")
        if isinstance(cause, PunktfunkError):
            return Problem(node.at, f"{where}: {cause.cause}", cause.hint)
        if isinstance(cause, MisfitError):
            meant = (*loc, cause.key) if cause.key else loc
            return Problem(tree.find(meant).at, f"{_dotted(meant)}: {cause.cause}", cause.hint)
        return Problem(node.at, f"{where}: {cause}" if where else str(cause))
    if kind in {"literal_error", "enum"}:
        choices = re.findall(r"'([^']*)'|(?<![\w'])(\d+)(?![\w'])", str(ctx.get("expected", "")))
        words = [a or b for a, b in choices]
        wanted = one_of(words) if words else str(ctx.get("expected"))
        return Problem(
            node.at,
            f"{where}: {_shown(node)} is not {wanted}",
            did_you_mean(node.text or str(node.value), words),
        )
    if kind in _LIMIT:
        name, phrase = _LIMIT[kind]
        return Problem(node.at, f"{where}: {_shown(node)} is out of range", f"{phrase} {_limit(ctx[name])}")
    if kind == "too_short":
        return Problem(node.at, f"{where} is empty", f"at least {ctx['min_length']}")
    if kind in _WANTED:
        return Problem(node.at, f"{where}: {_shown(node)} is not {_WANTED[kind]}")
    return Problem(node.at, f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}")


def _limit(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return f"'{node.text}'" if node.text else repr(node.value)


def _key_position(tree: Node, loc: tuple[str | int, ...]) -> Position:
    node = tree.find(loc)
    return node.key_at or node.at


def _dotted(loc: tuple[str | int, ...]) -> str:
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Return the model that describes the mapping at ``loc``."""
    kind: Any = model
    for step in loc:
        kind = _inner(kind, step)
        if kind is None:
            return None
    found = unwrap(kind)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _inner(kind: Any, step: str | int) -> Any:
    kind = unwrap(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind, include_extras=True)
        name = next((n for n, f in kind.model_fields.items() if step in {n, f.alias}), None)
        return hints[name] if name else None
    arguments = get_args(kind)
    return arguments[-1] if arguments else None


def unwrap(kind: Any) -> Any:
    """Take ``Annotated`` and ``| None`` off a type."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in {Union, UnionType}:
            kind = next(part for part in get_args(kind) if part is not type(None))
        else:
            return kind
