"""The interfaces of wlroots compositors that pywayland has no binding for, as they stand on the wire.

Sources of the facts: zwlr_screencopy_unstable_v1 version 3, zwlr_virtual_pointer_unstable_v1 version 2,
zwp_virtual_keyboard_unstable_v1 version 1 and wlr_layer_shell_unstable_v1 version 1.
"""

from __future__ import annotations

from typing import Final

from pywayland.protocol.wayland import WlBuffer, WlOutput, WlSeat, WlSurface
from pywayland.protocol.xdg_shell import XdgPopup

from punktfunk.desktop.wayland.declare import Declaration, build

_SCREENCOPY = (
    Declaration(
        "zwlr_screencopy_manager_v1",
        version=3,
        requests=(
            "capture_output(new:zwlr_screencopy_frame_v1, int, object:wl_output)",
            "capture_output_region(new:zwlr_screencopy_frame_v1, int, object:wl_output, int, int, int, int)",
            "destructor destroy()",
        ),
    ),
    Declaration(
        "zwlr_screencopy_frame_v1",
        version=3,
        requests=(
            "copy(object:wl_buffer)",
            "destructor destroy()",
            "since 2 copy_with_damage(object:wl_buffer)",
        ),
        events=(
            "buffer(uint, uint, uint, uint)",
            "flags(uint)",
            "ready(uint, uint, uint)",
            "failed()",
            "since 2 damage(uint, uint, uint, uint)",
            "since 3 linux_dmabuf(uint, uint, uint)",
            "since 3 buffer_done()",
        ),
    ),
)

_VIRTUAL_POINTER = (
    Declaration(
        "zwlr_virtual_pointer_manager_v1",
        version=2,
        requests=(
            "create_virtual_pointer(object:wl_seat?, new:zwlr_virtual_pointer_v1)",
            "destructor destroy()",
            "since 2 create_virtual_pointer_with_output("
            "object:wl_seat?, object:wl_output?, new:zwlr_virtual_pointer_v1)",
        ),
    ),
    Declaration(
        "zwlr_virtual_pointer_v1",
        version=2,
        requests=(
            "motion(uint, fixed, fixed)",
            "motion_absolute(uint, uint, uint, uint, uint)",
            "button(uint, uint, uint)",
            "axis(uint, uint, fixed)",
            "frame()",
            "axis_source(uint)",
            "axis_stop(uint, uint)",
            "axis_discrete(uint, uint, fixed, int)",
            "destructor destroy()",
        ),
    ),
)

_VIRTUAL_KEYBOARD = (
    Declaration(
        "zwp_virtual_keyboard_manager_v1",
        version=1,
        requests=("create_virtual_keyboard(object:wl_seat, new:zwp_virtual_keyboard_v1)",),
    ),
    Declaration(
        "zwp_virtual_keyboard_v1",
        version=1,
        requests=(
            "keymap(uint, fd, uint)",
            "key(uint, uint, uint)",
            "modifiers(uint, uint, uint, uint)",
            "destructor destroy()",
        ),
    ),
)

_LAYER_SHELL = (
    Declaration(
        "zwlr_layer_shell_v1",
        version=1,
        requests=(
            "get_layer_surface(new:zwlr_layer_surface_v1, object:wl_surface, object:wl_output?, uint, string)",
        ),
    ),
    Declaration(
        "zwlr_layer_surface_v1",
        version=1,
        requests=(
            "set_size(uint, uint)",
            "set_anchor(uint)",
            "set_exclusive_zone(int)",
            "set_margin(int, int, int, int)",
            "set_keyboard_interactivity(uint)",
            "get_popup(object:xdg_popup)",
            "ack_configure(uint)",
            "destructor destroy()",
        ),
        events=("configure(uint, uint, uint)", "closed()"),
    ),
)

INTERFACES: Final = build(
    (*_SCREENCOPY, *_VIRTUAL_POINTER, *_VIRTUAL_KEYBOARD, *_LAYER_SHELL),
    {each.name: each for each in (WlBuffer, WlOutput, WlSeat, WlSurface, XdgPopup)},
)
"""Interface classes by the name that the compositor announces them under."""
