"""What a portal is asked for follows what it offers, and what it has granted is read with care."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from punktfunk.desktop.portal.choice import ALL_DEVICES, Cursors, Devices, Offer, Sources, plan
from punktfunk.desktop.portal.started import MAX_TOKEN_CHARACTERS, read_started
from punktfunk.errors import CapabilityError, DesktopError

GNOME = Offer(screen_cast=5, remote_desktop=2, sources=7, cursors=7, devices=7)
"""Of xdg-desktop-portal 1.20 with -gnome 48."""
WLR = Offer(screen_cast=4, remote_desktop=0, sources=1, cursors=3, devices=0)
"""With -wlr 0.8."""


def test_a_whole_portal_is_asked_for_a_monitor_or_a_new_one_a_painted_pointer_and_every_device() -> None:
    wanted = plan(GNOME)
    assert wanted.sources == Sources.MONITOR | Sources.VIRTUAL, "a window is no desktop"
    assert wanted.cursor is Cursors.EMBEDDED
    assert wanted.devices == ALL_DEVICES
    assert (wanted.has_eis, wanted.keeps, wanted.kind) == (True, True, "remote-desktop")


def test_a_portal_without_input_is_asked_for_pictures() -> None:
    wanted = plan(WLR)
    assert (wanted.sources, wanted.devices) == (Sources.MONITOR, Devices(0))
    assert (wanted.has_eis, wanted.keeps, wanted.kind) == (False, True, "screen-cast")


@pytest.mark.parametrize(
    ("offer", "has_eis", "keeps"),
    [
        (replace(GNOME, remote_desktop=1), False, False),
        (replace(GNOME, remote_desktop=2, screen_cast=3), True, True),
        (replace(WLR, screen_cast=3), False, False),
        (replace(GNOME, devices=0), False, True),
        (replace(GNOME, remote_desktop=0), False, True),
    ],
)
def test_old_portals_keep_nothing_and_have_no_eis(offer: Offer, has_eis: bool, keeps: bool) -> None:
    wanted = plan(offer)
    assert (wanted.has_eis, wanted.keeps) == (has_eis, keeps)


@pytest.mark.parametrize(
    ("cursors", "chosen"),
    [
        (7, Cursors.EMBEDDED),
        (2, Cursors.EMBEDDED),
        (5, Cursors.METADATA),
        (1, Cursors.HIDDEN),
        (0, Cursors.HIDDEN),
    ],
)
def test_the_pointer_is_painted_where_it_can_be_and_told_beside_the_picture_elsewhere(
    cursors: int, chosen: Cursors
) -> None:
    assert plan(replace(GNOME, cursors=cursors)).cursor is chosen


@pytest.mark.parametrize(
    ("cursors", "chosen"),
    [(7, Cursors.METADATA), (5, Cursors.METADATA), (3, Cursors.EMBEDDED), (1, Cursors.HIDDEN)],
)
def test_a_pointer_beside_the_picture_is_chosen_where_that_is_asked_for_and_offered(
    cursors: int, chosen: Cursors
) -> None:
    assert plan(replace(GNOME, cursors=cursors), separate_cursor=True).cursor is chosen


@pytest.mark.parametrize(
    "offer", [replace(GNOME, screen_cast=0), replace(GNOME, sources=0), replace(GNOME, sources=2)]
)
def test_a_portal_that_shows_no_screen_is_none(offer: Offer) -> None:
    with pytest.raises(CapabilityError, match="portal") as raised:
        plan(offer)
    assert "xdg-desktop-portal" in raised.value.hint


def started(node: object = 42, /, **about: object) -> dict[str, Any]:
    return {"streams": [[node, about]], "devices": 3, "restore_token": "token"}


def test_a_grant_is_read_whole() -> None:
    found = read_started(
        started(42, size=[1920, 1080], position=[-1920, 0], mapping_id="m", source_type=4, more="yes")
    )
    assert (found.devices, found.token) == (Devices.KEYBOARD | Devices.POINTER, "token")
    stream = found.stream
    assert (stream.node, stream.size, stream.position) == (42, (1920, 1080), (-1920, 0))
    assert (stream.mapping_id, stream.source) == ("m", Sources.VIRTUAL)


def test_what_a_portal_leaves_out_is_not_made_up() -> None:
    found = read_started({"streams": [(42, {})]})
    assert (found.devices, found.token) == (Devices(0), None)
    stream = found.stream
    assert (stream.size, stream.position, stream.mapping_id, stream.source) == (None, None, None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", [0, 1080]),
        ("size", [1920, -1]),
        ("size", [1 << 16, 1080]),
        ("size", [1920]),
        ("size", [1920, 1080, 1]),
        ("size", "ab"),
        ("size", [1920.5, 1080]),
        ("size", [True, 1080]),
        ("position", [1 << 25, 0]),
        ("position", None),
        ("mapping_id", ""),
        ("mapping_id", "\x1b"),
        ("mapping_id", "m" * 257),
        ("mapping_id", 7),
        ("source_type", 3),
        ("source_type", "4"),
    ],
)
def test_a_property_that_cannot_be_is_as_good_as_none(name: str, value: object) -> None:
    stream = read_started(started(42, **{name: value})).stream
    field = {"source_type": "source"}.get(name, name)
    assert getattr(stream, field) is None


@pytest.mark.parametrize(
    "results", [{}, {"streams": []}, {"streams": "ab"}, {"streams": None}, {"streams": [[1]]}]
)
def test_a_grant_without_a_picture_is_none(results: dict[str, object]) -> None:
    with pytest.raises(DesktopError):
        read_started(results)


@pytest.mark.parametrize("node", [-1, 0xFFFF_FFFF, "42", None, True])
def test_a_node_that_cannot_be_is_refused(node: object) -> None:
    with pytest.raises(DesktopError, match="node"):
        read_started(started(node))


@pytest.mark.parametrize("token", [7, "", "a\x00b", "t" * (MAX_TOKEN_CHARACTERS + 1), None])
def test_a_token_that_cannot_be_is_not_kept(token: object) -> None:
    assert read_started({**started(), "restore_token": token}).token is None


def test_devices_beyond_those_known_are_left_out() -> None:
    assert read_started({**started(), "devices": 0xFF}).devices == ALL_DEVICES
