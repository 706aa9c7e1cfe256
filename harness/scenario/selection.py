"""Choose cases by an expression over their names, as pytest's ``-k`` does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from harness.scenario.diagnostics import did_you_mean
from harness.scenario.expand import Case
from punktfunk.errors import UsageError

_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")
Predicate = Callable[[str], bool]


def compile_expression(text: str) -> Predicate:
    """Turn ``gf16 and not (loss=20 or bursty)`` into a predicate on case ids.

    Words are substrings of the id, without regard to case; ``and``, ``or``, ``not`` and parentheses combine
    them. A word that ends where a value ends matches only there: ``loss=2`` does not match ``loss=20``. Raises
    UsageError for an expression that cannot be read.
    """
    tokens = _TOKEN.findall(text)
    if not tokens:
        return lambda _: True
    predicate, rest = _either(tokens, text)
    if rest:
        raise UsageError(f"-k {text!r}: unexpected {rest[0]!r}", "combine words with and, or, not")
    return predicate


def select(cases: Iterable[Case], expression: str = "", ids: Sequence[str] = ()) -> list[Case]:
    """Return the cases that an expression selects, or exactly those named; raise UsageError for none."""
    known = list(cases)
    if ids:
        by_id = {case.id: case for case in known}
        for wanted in ids:
            if wanted not in by_id:
                hint = did_you_mean(wanted, by_id, otherwise="--list shows the cases")
                raise UsageError(f"there is no case '{wanted}'", hint)
        return [by_id[wanted] for wanted in ids]
    predicate = compile_expression(expression)
    chosen = [case for case in known if predicate(case.id)]
    if not chosen:
        raise UsageError(f"-k {expression!r} selects none of {len(known)} cases", "--list shows their names")
    return chosen


def _either(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    left, tokens = _both(tokens, text)
    while tokens and tokens[0] == "or":
        right, tokens = _both(tokens[1:], text)
        left = _combine(any, left, right)
    return left, tokens


def _both(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    left, tokens = _one(tokens, text)
    while tokens and tokens[0] == "and":
        right, tokens = _one(tokens[1:], text)
        left = _combine(all, left, right)
    return left, tokens


def _one(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    if not tokens or tokens[0] in {"and", "or", ")"}:
        raise UsageError(f"-k {text!r}: a word is missing", "combine words with and, or, not")
    if tokens[0] == "not":
        inner, rest = _one(tokens[1:], text)
        return (lambda name: not inner(name)), rest
    if tokens[0] == "(":
        inner, rest = _either(tokens[1:], text)
        if not rest or rest[0] != ")":
            raise UsageError(f"-k {text!r}: a ')' is missing")
        return inner, rest[1:]
    return _word(tokens[0]), tokens[1:]


def _word(word: str) -> Predicate:
    # A digit at the end must not run on: loss=2 is not loss=20.
    pattern = re.compile(re.escape(word) + (r"(?![\d.]*\d)" if word[-1].isdigit() else ""), re.IGNORECASE)
    return lambda name: pattern.search(name) is not None


def _combine(how: Callable[[Iterable[bool]], bool], *parts: Predicate) -> Predicate:
    return lambda name: how(part(name) for part in parts)
