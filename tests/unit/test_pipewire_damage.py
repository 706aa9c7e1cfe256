"""What has changed between two pictures that were taken, whatever a producer has said of those in between."""

from __future__ import annotations

from punktfunk.desktop.pipewire.buffers import Rectangle
from punktfunk.desktop.pipewire.pictures import MAX_RECTANGLES, united

PART = (Rectangle(10, 20, 30, 5), Rectangle(0, 40, 10, 10))


def test_what_changed_in_pictures_that_nobody_took_is_kept() -> None:
    assert united(PART, ()) == PART
    assert united((), PART) == PART
    assert united(None, PART) is None
    assert united(PART, None) is None


def test_it_does_not_grow_while_nobody_takes_a_picture() -> None:
    changed: tuple[Rectangle, ...] | None = ()
    for number in range(10_000):
        changed = united(changed, (Rectangle(number % 7, 20 + number % 3, 30, 5),) * 64)
        assert changed is not None
        assert len(changed) <= MAX_RECTANGLES
    assert min(each.x for each in changed) == 0
    assert max(each.x + each.width for each in changed) == 36
    assert min(each.y for each in changed) == 20
    assert max(each.y + each.height for each in changed) == 27
