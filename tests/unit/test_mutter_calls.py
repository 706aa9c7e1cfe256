"""Each call of the portal that puts input in, as Mutter's own interface has it."""

from __future__ import annotations

import pytest

from punktfunk.desktop.mutter.calls import as_mutters

STREAM = "/org/gnome/Mutter/ScreenCast/Stream/u3"


@pytest.mark.parametrize(
    ("portal", "mutter"),
    [
        (("NotifyPointerMotion", "dd", (1.0, -2.0)), ("NotifyPointerMotionRelative", "dd", (1.0, -2.0))),
        (
            ("NotifyPointerMotionAbsolute", "udd", (0, 5.0, 6.0)),
            ("NotifyPointerMotionAbsolute", "sdd", (STREAM, 5.0, 6.0)),
        ),
        (("NotifyPointerButton", "iu", (272, 1)), ("NotifyPointerButton", "ib", (272, True))),
        (("NotifyPointerAxis", "dd", (0.0, 10.0)), ("NotifyPointerAxis", "ddu", (0.0, 10.0, 0))),
        (("NotifyPointerAxisDiscrete", "ui", (0, -1)), ("NotifyPointerAxisDiscrete", "ui", (0, -1))),
        (("NotifyKeyboardKeycode", "iu", (30, 0)), ("NotifyKeyboardKeycode", "ub", (30, False))),
        (("NotifyKeyboardKeysym", "iu", (0x61, 1)), ("NotifyKeyboardKeysym", "ub", (0x61, True))),
        (("NotifyTouchDown", "uudd", (0, 4, 1.0, 2.0)), ("NotifyTouchDown", "sudd", (STREAM, 4, 1.0, 2.0))),
        (
            ("NotifyTouchMotion", "uudd", (0, 4, 1.0, 2.0)),
            ("NotifyTouchMotion", "sudd", (STREAM, 4, 1.0, 2.0)),
        ),
        (("NotifyTouchUp", "u", (4,)), ("NotifyTouchUp", "u", (4,))),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else None,
)
def test_a_call_has_mutters_name_types_and_values(
    portal: tuple[str, str, tuple[int | float, ...]], mutter: tuple[str, str, tuple[object, ...]]
) -> None:
    named, typed, values = as_mutters(*portal, STREAM)
    assert (named, typed, values) == mutter
    assert [type(value) for value in values] == [type(value) for value in mutter[2]]
