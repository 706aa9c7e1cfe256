"""Which session keys there have been: as many as fit, the oldest forgotten first, and none of them kept itself."""

from __future__ import annotations

from punktfunk.host.gamestream.session_keys import UsedKeys


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_oldest_key_is_forgotten_for_one_too_many() -> None:
    used = UsedKeys(limit=3)
    for number in (1, 2, 3, 2):
        assert (key(number) in used) == (number == 2 and len(used) == 3)
        used.add(key(number))
    assert len(used) == 3
    used.add(key(4))
    assert [number for number in (1, 2, 3, 4) if key(number) in used] == [2, 3, 4]


def test_the_key_itself_is_not_kept() -> None:
    used = UsedKeys()
    used.add(key(0x1234))
    assert key(0x1234) in used
    assert key(0x1234) not in used._digests
