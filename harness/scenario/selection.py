"""Choose cases by an expression over their names, as pytest's ``-k`` does."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.scenario.case import Case
from harness.scenario.diagnostics import did_you_mean
from harness.scenario.matrix import Cases
from punktfunk.errors import UsageError

_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")
Predicate = Callable[[str], bool]
_SPELLED_UP_TO = 20_000
"""Cases among which the nearest name is looked for: in a million that takes minutes."""


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


def select(cases: Sequence[Case], expression: str = "", ids: Sequence[str] = ()) -> Sequence[Case]:
    """Return the cases that an expression selects, or exactly those named; raise UsageError for none.

    Of :class:`~harness.scenario.matrix.Cases` the same, and none is made for it.
    """
    if ids:
        wanted = set(ids)
        by_id = {name: number for number, name in enumerate(_ids(cases)) if name in wanted}
        for name in ids:
            if name not in by_id:
                near = list(_ids(cases)) if len(cases) <= _SPELLED_UP_TO else []
                raise UsageError(
                    f"there is no case '{name}'",
                    did_you_mean(name, near, otherwise="'run --list' shows the cases"),
                )
        return _at(cases, [by_id[name] for name in ids])
    if not expression.strip():
        numbers: Sequence[int] = range(len(cases))
    else:
        predicate = compile_expression(expression)
        numbers = array("Q", (number for number, name in enumerate(_ids(cases)) if predicate(name)))
    if not numbers:
        raise UsageError(
            f"-k {expression!r} selects none of {len(cases)} cases", "'run --list' shows their names"
        )
    return _at(cases, numbers)


def _ids(cases: Sequence[Case]) -> Iterator[str]:
    return cases.ids() if isinstance(cases, Cases) else (case.id for case in cases)


def _at(cases: Sequence[Case], numbers: Sequence[int]) -> Sequence[Case]:
    if isinstance(cases, Cases):
        return cases.chosen(numbers)
    return [cases[number] for number in numbers]


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
