"""``-k`` chooses cases by words of their names."""

from __future__ import annotations

import pytest

from harness.scenario.expand import Case
from harness.scenario.model import Session
from harness.scenario.selection import compile_expression, select
from punktfunk.errors import UsageError

IDS = ["s.scheme=gf8,loss=2", "s.scheme=gf16,loss=2", "s.scheme=gf16,loss=20", "s.scheme=gf16,loss=2.5"]
CASES = [Case(id=name, scenario="s", spec=Session(), seed=1) for name in IDS]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("", [0, 1, 2, 3]),
        ("gf8", [0]),
        ("GF16", [1, 2, 3]),
        ("loss=2", [0, 1]),
        ("loss=2 and gf16", [1]),
        ("gf16 and not loss=20", [1, 3]),
        ("gf8 or loss=20", [0, 2]),
        ("not (gf8 or loss=2)", [2, 3]),
        ("gf8 or gf16 and loss=20", [0, 2]),
    ],
)
def test_words_combine(expression: str, chosen: list[int]) -> None:
    assert [case.id for case in select(CASES, expression)] == [IDS[n] for n in chosen]


@pytest.mark.parametrize("expression", ["and", "gf8 and", "(gf8", "gf8)", "not", "gf8 gf16"])
def test_an_expression_that_cannot_be_read_is_a_usage_error(expression: str) -> None:
    with pytest.raises(UsageError):
        compile_expression(expression)


def test_an_expression_that_selects_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="none of 4"):
        select(CASES, "gf32")


def test_an_exact_id_selects_that_case_alone_and_a_wrong_one_is_corrected() -> None:
    assert [case.id for case in select(CASES, ids=[IDS[1]])] == [IDS[1]]
    with pytest.raises(UsageError) as caught:
        select(CASES, ids=["s.scheme=gf8,los=2"])
    assert caught.value.hint == f"did you mean '{IDS[0]}'?"
