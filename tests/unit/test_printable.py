"""Text from outside becomes text that only says something: no escape, no turn, nothing unseen, no 64 KiB."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.table import Table

from punktfunk import log
from punktfunk.errors import ConfigError
from punktfunk.printable import device_name, is_printable, printable, printable_lines
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say

DANGEROUS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029",
    *"\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u2800\u3164\ufe0f\ufeff\uffa0\ufff9",
    *"\ue000\U000e0001\U000e0041\U000e0100\ufffe\uffff",
    *"\ud800\udfff",
]


@pytest.mark.parametrize("character", DANGEROUS, ids=lambda c: f"U+{ord(c):04X}")
def test_what_acts_or_shows_nothing_becomes_its_escape(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown == f"a{character.encode('unicode_escape').decode()}b"
    assert shown.isascii()
    assert not is_printable(character)
    assert printable(shown) == shown


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("", "living room", "Büro – 100 %", "デスク", "מחשב", "🖥 two", "1\u202f000 µs", "\u3000wide"):
        assert printable(text) == text
        assert is_printable(text)


def test_no_character_of_unicode_that_is_a_control_a_mark_or_a_separator_gets_through() -> None:
    for code in (*range(0x3000), *range(0xD800, 0xE000), *range(0xFE00, 0x10000), *range(0xE0000, 0xE0200)):
        for shown in printable(chr(code)):
            assert unicodedata.category(shown) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}, hex(code)


def test_lines_and_tabs_stay_where_a_text_of_several_lines_is_shown_and_nowhere_else() -> None:
    assert printable_lines("a\tb\nc\r\x1b[2J") == "a\tb\nc\\r\\x1b[2J"
    assert printable("a\tb\nc") == "a\\tb\\nc"


def test_a_long_text_keeps_its_beginning_and_its_end_and_says_what_is_missing() -> None:
    assert printable("x" * 40, 40) == "x" * 40
    assert printable("y" * 30 + "z" * 11, 40) == "y" * 30 + " …1 characters… " + "z" * 10
    assert len(printable("\U000e0001" * 65536, 100)) < 1100
    assert len(printable_lines("line\x1b\n" * 100_000)) < 250_000
    assert max(map(len, printable_lines("q" * 65536 + "\n" + "r" * 65536).split("\n"))) < 2050


def test_a_device_s_name_is_one_short_line_and_never_empty() -> None:
    assert device_name("\x1b[2Jliving\u202e  room\r\n\x00") == "[2Jliving room"
    assert device_name("\u200b\u2066\u3164\ufe0f") == "unnamed device"
    assert device_name("é" * 100) == "é" * 64
    assert device_name("\x00" * 65536 + "late") == "unnamed device"


ATTACK = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202e\u2066\u200b\u2028\ud800"


def harmless(text: str) -> bool:
    """Judge by Python's own idea of what can be printed, not by the code under test."""
    return all(line.isprintable() for line in text.split("\n"))


def test_errors_the_terminal_and_tables_are_harmless_whatever_they_are_given() -> None:
    error = ConfigError(f"a file said {ATTACK}", f"mend {ATTACK}")
    assert harmless(str(error))
    assert harmless(f"{error.cause}{error.hint}{error.args[0]}")
    out = io.StringIO()
    say(f"the host said {ATTACK}", file=out)
    console = Console(file=out, width=400)
    console.print(f"note {ATTACK}", markup=False)
    table = Table(box=None)
    table.add_column(f"head {ATTACK}")
    table.add_row(f"cell {ATTACK}")
    console.print(table)
    assert harmless(out.getvalue())
    assert out.getvalue().count("\\x1b]0;owned") == 4


def test_colours_of_a_terminal_are_still_sent_and_nothing_else_is() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="standard", highlight=False).print(
        f"[red]red[/] {ATTACK}"
    )
    assert out.getvalue().startswith("\x1b[31mred\x1b[0m ")
    assert out.getvalue().count("\x1b") == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_line_is_harmless_in_its_words_its_fields_and_their_names(as_json: bool) -> None:
    stream = io.StringIO()
    log.configure(json=as_json, stream=stream)
    try:
        logger = log.get("host")
        logger.error(ATTACK, name=ATTACK, nested={"list": [ATTACK, {ATTACK: ATTACK}]}, **{f"n{ATTACK}": 1})
        try:
            ATTACK.encode()  # fails, and quotes what it failed on
        except UnicodeEncodeError:
            logger.exception("failed")
    finally:
        log.reset()
    text = stream.getvalue()
    for colour in (
        "\x1b[0m",
        "\x1b[1m",
        "\x1b[2m",
        "\x1b[31m",
        "\x1b[32m",
        "\x1b[35m",
        "\x1b[36m",
        "\x1b[91m",
    ):
        text = text.replace(colour, "")
    assert harmless(text), ascii(text)
    assert "Traceback" in text
