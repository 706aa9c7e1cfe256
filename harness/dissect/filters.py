"""Choose datagrams of a capture by an expression over what is known of each: ``frame == 42 and kind == recovery``."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Final

from harness.dissect.reading import Row
from harness.scenario.diagnostics import did_you_mean
from punktfunk.errors import UsageError
from punktfunk.printable import printable

MAX_CHARACTERS: Final = 500
Value = int | float | str | None
Filter = Callable[[Mapping[str, Value]], bool]

FIELDS: Final[Mapping[str, str]] = {
    "no": "number of the packet in the capture, from 1",
    "ms": "milliseconds since the first packet",
    "stream": "number of the stream in the overview",
    "kind": "data, recovery, sealed, QUIC, …",
    "bytes": "length of the UDP payload",
    "number": "number of the packet in its stream",
    "frame": "number of its frame",
    "block": "block of the frame",
    "shard": "shard of the block: data below k, recovery from k on",
    "k": "data shards of its block",
    "m": "recovery shards of its block",
    "verdict": "what became of it, or what it says",
}
"""What an expression may name."""
_TEXTS: Final = ("kind", "verdict")
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_HINT: Final = "as in: frame == 42 and kind == recovery, or: late; fields: " + ", ".join(FIELDS)


def values(row: Row, first_ns: int) -> dict[str, Value]:
    """Return what an expression may name of a datagram; None for what it does not have."""
    video = row.video
    shard = video.shard if video is not None else None
    return {
        "no": row.number,
        "ms": (row.time_ns - first_ns) / 1e6,
        "stream": row.stream.number,
        "kind": row.what,
        "bytes": row.size,
        "number": video.number if video is not None and video.bits else None,
        "frame": video.frame if video is not None else None,
        "block": shard.block if shard is not None else None,
        "shard": shard.index if shard is not None else None,
        "k": shard.k if shard is not None else None,
        "m": shard.m if shard is not None else None,
        "verdict": row.verdict,
    }


def compile_filter(text: str) -> Filter:
    """Turn an expression into a predicate on :func:`values`.

    ``and``, ``or``, ``not`` and parentheses combine comparisons of a field with a number, a text or another field.
    Texts are compared by their beginning, whatever their case; a word alone is one that kind or verdict begins with.
    What a datagram does not have is neither equal nor unequal to anything. Raises :class:`UsageError` for what is no
    such expression.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"a filter of {len(text)} characters; at most {MAX_CHARACTERS}", _HINT)
    try:
        with warnings.catch_warnings(action="ignore"):  # what Python would say of the expression as its own
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UsageError(f"the filter '{printable(text, 80)}' cannot be read", _HINT) from error
    return _predicate(tree.body, text)


def _predicate(node: ast.expr, text: str) -> Filter:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            every = [_predicate(part, text) for part in parts]
            return lambda row: all(part(row) for part in every)
        case ast.BoolOp(op=ast.Or(), values=parts):
            some = [_predicate(part, text) for part in parts]
            return lambda row: any(part(row) for part in some)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _predicate(operand, text)
            return lambda row: not inner(row)
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARISONS:
            return _comparison(type(operation), left, right, text)
        case ast.Name(id=word) if word not in FIELDS:
            return _word(word)
        case ast.Constant(value=str() as word):
            return _word(word)
    raise UsageError(f"the filter '{printable(text, 80)}' has what no filter has", _HINT)


def _comparison(operation: type[ast.cmpop], left: ast.expr, right: ast.expr, text: str) -> Filter:
    begin, end = _operand(left, text), _operand(right, text)
    compare = _COMPARISONS[operation]
    if isinstance(left, ast.Name) and left.id not in FIELDS:
        hint = did_you_mean(left.id, FIELDS, otherwise=_HINT)
        raise UsageError(f"a filter knows no field '{printable(left.id, 40)}'", hint)

    def holds(row: Mapping[str, Value]) -> bool:
        a, b = begin(row), end(row)
        if a is None or b is None:
            return False
        if isinstance(a, str) or isinstance(b, str):
            same = str(a).lower().startswith(str(b).lower())
            return same if operation is ast.Eq else not same if operation is ast.NotEq else False
        return compare(a, b)

    return holds


def _operand(node: ast.expr, text: str) -> Callable[[Mapping[str, Value]], Value]:
    match node:
        case ast.Name(id=name) if name in FIELDS:
            return lambda row: row[name]
        case ast.Name(id=word):
            return lambda _row: word
        case ast.Constant(value=bool() | bytes() | complex() | None):
            pass
        case ast.Constant(value=int() | float() | str() as constant):
            return lambda _row: constant
    raise UsageError(f"the filter '{printable(text, 80)}' compares what no filter compares", _HINT)


def _word(word: str) -> Filter:
    beginning = word.lower()
    return lambda row: any(str(row[name]).lower().startswith(beginning) for name in _TEXTS)
