"""Declared Wayland interfaces: read as written, refused where they are invalid."""

from __future__ import annotations

import pytest

declare = pytest.importorskip("punktfunk.desktop.wayland.declare", reason="pywayland is not installed")
Declaration, build = declare.Declaration, declare.build


def _signatures(interface: object) -> tuple[list[str], list[str]]:
    """Return what libwayland is told of requests and events: name and signature."""
    pointer = interface._ptr  # type: ignore[attr-defined]
    ffi = pytest.importorskip("pywayland").ffi

    def listed(messages: object, count: int) -> list[str]:
        return [
            f"{ffi.string(messages[i].name).decode()} {ffi.string(messages[i].signature).decode()}"  # type: ignore[index]
            for i in range(count)
        ]

    return listed(pointer.methods, pointer.method_count), listed(pointer.events, pointer.event_count)


def test_a_declaration_becomes_the_signatures_of_the_wire() -> None:
    made = build(
        [
            Declaration(
                "x_manager",
                2,
                requests=("make(new:x_thing, object:x_thing?, fd, string)", "destructor destroy()"),
                events=("since 2 told(int, uint, fixed, array)",),
            ),
            Declaration("x_thing", 1),
        ],
        {},
    )
    assert _signatures(made["x_manager"]) == (["make n?ohs", "destroy "], ["told 2iufa"])
    assert made["x_manager"].version == 2


def test_the_interfaces_of_wlroots_have_their_messages_in_the_order_of_the_protocol() -> None:
    wlr = pytest.importorskip("punktfunk.desktop.wayland.wlr")
    frame = _signatures(wlr.INTERFACES["zwlr_screencopy_frame_v1"])
    assert frame[0] == ["copy o", "destroy ", "copy_with_damage 2o"]
    assert [line.split()[0] for line in frame[1]] == [
        "buffer",
        "flags",
        "ready",
        "failed",
        "damage",
        "linux_dmabuf",
        "buffer_done",
    ]
    pointer = _signatures(wlr.INTERFACES["zwlr_virtual_pointer_v1"])[0]
    assert pointer[1] == "motion_absolute uuuuu"
    assert pointer[7] == "axis_discrete uufi"
    assert _signatures(wlr.INTERFACES["zwp_virtual_keyboard_v1"])[0][0] == "keymap uhu"


@pytest.mark.parametrize(
    "message",
    [
        "motion",
        "motion(int",
        "Motion(int)",
        "motion(float)",
        "make(new)",
        "take(object:x_unknown)",
        "take(int:x)",
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(message: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        build([Declaration("x_broken", 1, requests=(message,))], {})
