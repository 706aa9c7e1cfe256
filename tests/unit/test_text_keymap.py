"""The keymap in which characters are typed that the session's keyboard may not have."""

from __future__ import annotations

import pytest

from punktfunk.desktop.inject.text import MAX_CHARACTERS, TextKeymap


def test_a_character_has_its_key_for_as_long_as_there_is_room() -> None:
    keymap = TextKeymap()
    first = keymap.key_of(ord("é"))
    assert first is not None
    assert first[1] is not None
    assert b"[ U00E9 ]" in first[1]
    assert keymap.key_of(ord("é")) == (first[0], None)
    keys = [keymap.key_of(0x4E00 + n) for n in range(MAX_CHARACTERS - 1)]
    assert len({found[0] for found in keys if found is not None}) == MAX_CHARACTERS - 1
    begun_anew = keymap.key_of(ord("ж"))
    assert begun_anew is not None
    assert begun_anew[1] is not None
    assert b"U00E9" not in begun_anew[1]
    assert max(found[0] for found in keys if found is not None) + 8 <= 255


@pytest.mark.parametrize("code_point", [0, 0x1F, 0x9F, 0xD800, 0xDFFF, 0x110000, -1, 2**32])
def test_what_is_no_character_has_no_key(code_point: int) -> None:
    assert TextKeymap().key_of(code_point) is None


@pytest.mark.parametrize(
    ("code_point", "symbol"), [(0x0A, b"Return"), (0x08, b"BackSpace"), (0x1F600, b"U1F600")]
)
def test_symbols_are_named_as_xkb_does(code_point: int, symbol: bytes) -> None:
    found = TextKeymap().key_of(code_point)
    assert found is not None
    assert b"[ " + symbol + b" ]" in (found[1] or b"")
