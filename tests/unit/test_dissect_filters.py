"""Filters choose datagrams by what is known of each; what is no filter is an error that shows one."""

from __future__ import annotations

import pytest

from harness.dissect.filters import FIELDS, MAX_CHARACTERS, Value, compile_filter
from punktfunk.errors import UsageError

ROW: dict[str, Value] = dict.fromkeys(FIELDS) | {
    "no": 7,
    "ms": 1.5,
    "kind": "recovery",
    "frame": 42,
    "shard": 9,
    "k": 9,
    "verdict": "late: turn over",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("frame == 42", True),
        ("frame != 42", False),
        ("42 == frame", True),
        ("ms < 1.5", False),
        ("ms <= 1.5", True),
        ("no > 7", False),
        ("no >= 7", True),
        ("shard >= k", True),
        ("shard > k", False),
        ("kind == recovery", True),
        ("kind == RECO", True),
        ("kind == 'data'", False),
        ("kind != data", True),
        ("verdict == late", True),
        ("late", True),
        ("'turn over'", False),
        ("recovery and not late", False),
        ("data or (recovery and frame == 42)", True),
        ("block == 0", False),
        ("block != 0", False),
        ("kind < recovery", False),
    ],
)
def test_an_expression_holds_or_does_not(text: str, holds: bool) -> None:
    assert compile_filter(text)(ROW) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "frame ==",
        "frame = 42",
        "1",
        "frame",
        "f(1)",
        "frame.x",
        "a[0]",
        "1 < no < 9",
        "no == 1+1",
        "lambda: 1",
        "no == b''",
        "no == None",
        "no in (1, 2)",
        "'''",
        "((((",
        "no == True",
    ],
)
def test_what_is_no_filter_says_how_one_looks(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        compile_filter(text)
    assert "frame == 42" in raised.value.hint


def test_a_field_that_is_not_there_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="no field 'frme'") as raised:
        compile_filter("frme == 42")
    assert raised.value.hint == "did you mean 'frame'?"


def test_a_filter_has_a_longest_length() -> None:
    longest = "frame == 42".ljust(MAX_CHARACTERS)
    assert compile_filter(longest)(ROW)
    with pytest.raises(UsageError, match=f"{MAX_CHARACTERS + 1} characters"):
        compile_filter(longest + " ")
