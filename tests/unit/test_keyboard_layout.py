"""The layout of a host's keyboards: how it is named, and which desktops are opened with it."""

from __future__ import annotations

import pytest

from punktfunk.desktop import DesktopOptions, backends
from punktfunk.desktop.keyboard_layout import xkb_names
from punktfunk.errors import CapabilityError, ConfigError
from punktfunk.host.config import HostConfig
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.media import TestCardSpec


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("de", ("de", "")),
        ("de:nodeadkeys", ("de", "nodeadkeys")),
        ("us,de", ("us,de", "")),
        # A variant counts by its place: XKB would otherwise take it for the first layout's.
        ("us,de:nodeadkeys", ("us,de", ",nodeadkeys")),
        ("us:altgr-intl,ru,gr:polytonic,fr", ("us,ru,gr,fr", "altgr-intl,,polytonic,")),
    ],
)
def test_layouts_are_told_from_their_variants(text: str, names: tuple[str, str]) -> None:
    assert xkb_names(text) == names


@pytest.mark.parametrize(
    "text", ["", ",", "de:", ":neo", "de:neo:x", "de(neo)", "../de", "de ", "us,,de", "a,b,c,d,e", "a" * 129]
)
def test_what_names_no_layout_is_refused_with_what_would(text: str) -> None:
    with pytest.raises(ConfigError, match="is no keyboard layout") as caught:
        xkb_names(text)
    assert "de:nodeadkeys" in caught.value.hint
    with pytest.raises(ConfigError, match="is no keyboard layout"):
        HostConfig(keyboard_layout=text)


def test_the_longest_name_that_is_taken_is_of_four_layouts_and_128_characters() -> None:
    assert xkb_names("a" * 128) == ("a" * 128, "")
    assert xkb_names("a,b,c,d") == ("a,b,c,d", "")


def test_each_desktop_of_a_host_is_opened_with_its_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[DesktopOptions] = []

    def refuse(options: DesktopOptions, _wanted: object) -> None:
        opened.append(options)
        raise CapabilityError("not here")

    monkeypatch.setattr(backends, "open_desktop", refuse)
    host = HostConfig(source=DesktopSpec(), keyboard_layout="us,de:nodeadkeys")
    own = host.changed(source=DesktopSpec(keyboard_layout="fr"))
    for config in (host, own, HostConfig(source=DesktopSpec())):
        spec = config.desktops
        for attempt in (
            lambda spec=spec: DesktopPool.open(spec),
            lambda spec=spec: DesktopPool.open_empty(keyboard_layout=spec.keyboard_layout),
        ):
            with pytest.raises(CapabilityError):
                attempt()
    names = [(options.keyboard_layout, options.keyboard_variant) for options in opened]
    assert names == [("us,de", ",nodeadkeys")] * 2 + [("fr", "")] * 2 + [("us", "")] * 2
    assert HostConfig(source=TestCardSpec(), keyboard_layout="de").desktops == DesktopSpec(
        keyboard_layout="de"
    ), "of apps on desktops of their own"
