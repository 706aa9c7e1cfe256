"""The desktops that can be streamed: in which order, and how the command line and other rooms name them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from punktfunk import cli_serve
from punktfunk.desktop import Availability, BackendName, Desktop, DesktopOptions, backends
from punktfunk.desktop.backends import BACKENDS, Backend
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError
from punktfunk.host import management, readiness
from punktfunk.host.management import COMPOSITORS
from punktfunk.host.stream.sources import DesktopSpec, HostSource
from punktfunk.log_ring import LogRing

STATE = Path("/where/this/host/keeps/it")


def test_the_management_api_names_the_compositor_of_every_back_end() -> None:
    assert {backend.compositor for backend in BACKENDS} <= {"", *(name for name, _ in COMPOSITORS)}


def test_back_ends_are_tried_in_the_order_that_is_stated() -> None:
    names = [backend.name for backend in BACKENDS]
    assert names == [name for name in BackendName if name in names]
    assert list(BackendName) == ["kwin", "mutter", "wlroots", "portal", "headless-sway", "gamescope"]


def test_the_command_line_offers_every_back_end_and_auto() -> None:
    assert [choice.value for choice in cli_serve.ServedDesktop] == ["auto", *BackendName]


@pytest.mark.parametrize(
    ("source", "desktop", "program", "words"),
    [
        ("testcard", "wlroots", None, "--desktop is for desktops, not for --source testcard"),
        ("file", "auto", "foot", "--app is for desktops, not for --source file"),
        ("auto", "kwin", "foot", "--app is what a headless desktop runs, not --desktop kwin"),
        ("auto", "gamescope", None, "a gamescope shows one program, and none is named"),
        ("desktop", "gamescope", "  ", "a gamescope shows one program, and none is named"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    source: str, desktop: str, program: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli_serve._served_source(
            cli_serve.ServedSource(source), None, None, cli_serve.ServedDesktop(desktop), program, audio=True
        )
    assert words in " ".join(capsys.readouterr().err.split())


def backend(name: BackendName, *, absent: str = "", fails: PunktfunkError | None = None) -> Backend:
    """Return a back end that is not here, does not come up, or opens a desktop that is its name."""

    def open_(_options: DesktopOptions) -> Desktop:
        if fails is not None:
            raise fails
        return name  # type: ignore[return-value]  # nobody asks it for anything

    found = Availability(name, not absent, absent or f"{name} runs here", f"start {name}" if absent else "")
    return Backend(name, "", name, "serve", lambda _state_dir: found, open_)


def test_auto_goes_on_where_a_desktop_does_not_come_up_and_says_of_each_why(
    monkeypatch: pytest.MonkeyPatch, ring: LogRing
) -> None:
    offered = (
        backend(BackendName.KWIN, absent="no KWin runs here"),
        backend(BackendName.MUTTER, fails=DesktopError("the session is locked", "unlock it")),
        backend(BackendName.WLROOTS),
        backend(BackendName.PORTAL, fails=DesktopError("is not asked")),
    )
    monkeypatch.setattr(backends, "BACKENDS", offered)
    opened = backends.open_desktop(DesktopOptions())
    assert (opened.desktop, opened.backend, opened.reason) == ("wlroots", offered[2], "wlroots runs here")
    said = [
        (entry.level, entry.event, entry.fields["desktop"], entry.fields["cause"]) for entry in ring.entries()
    ]
    assert said == [
        ("info", "desktop not taken", "kwin", "no KWin runs here"),
        ("warning", "desktop not opened", "mutter", "the session is locked"),
    ]
    with pytest.raises(DesktopError, match="the session is locked"):
        backends.open_desktop(DesktopOptions(), BackendName.MUTTER)
    with pytest.raises(CapabilityError, match="no KWin runs here"):
        backends.open_desktop(DesktopOptions(), BackendName.KWIN)
    with pytest.raises(CapabilityError, match="cannot stream headless-sway"):
        backends.open_desktop(DesktopOptions(), BackendName.HEADLESS_SWAY)


def test_each_desktop_is_examined_with_what_its_host_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    there = backend(BackendName.PORTAL)
    asked: list[Path | None] = []

    def examine(state_dir: Path | None) -> Availability:
        asked.append(state_dir)
        return there.examine(state_dir)

    monkeypatch.setattr(backends, "BACKENDS", (replace(there, examine=examine),))
    backends.examine(STATE)
    backends.choose(None, STATE)
    backends.open_desktop(DesktopOptions(state_dir=STATE))
    backends.open_desktop(DesktopOptions())
    assert asked == [STATE, STATE, STATE, None]


def test_what_is_opened_by_name_only_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    named = replace(backend(BackendName.GAMESCOPE), by_name_only=True)
    monkeypatch.setattr(backends, "BACKENDS", (named,))
    with pytest.raises(CapabilityError):
        backends.open_desktop(DesktopOptions())
    assert backends.open_desktop(DesktopOptions(), BackendName.GAMESCOPE).desktop == "gamescope"
    assert [each.name for each in BACKENDS if each.by_name_only] == [BackendName.GAMESCOPE]


def test_where_none_can_be_opened_each_reason_is_told_and_the_hint_of_the_last_that_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = backend(BackendName.KWIN, absent="no KWin runs here")
    broken = backend(BackendName.HEADLESS_SWAY, fails=DesktopError("sway did not come up"))
    monkeypatch.setattr(backends, "BACKENDS", (absent, broken))
    with pytest.raises(
        DesktopError, match="kwin: no KWin runs here; headless-sway: sway did not come up"
    ) as none:
        backends.open_desktop(DesktopOptions())
    assert none.value.hint == "start kwin"
    monkeypatch.setattr(backends, "BACKENDS", (absent,))
    with pytest.raises(CapabilityError, match="no KWin runs here"):
        backends.open_desktop(DesktopOptions())


def test_readiness_lists_each_desktop_and_misses_only_what_is_here_and_would_come_before_what_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        BackendName.KWIN: Availability("kwin", False, "no KWin runs here", "start one", absent=True),
        BackendName.MUTTER: Availability("mutter", False, "its session is locked", "unlock it"),
        BackendName.WLROOTS: Availability("wlroots", True, "a wlroots session runs here"),
        BackendName.PORTAL: Availability("portal", False, "no portal runs here", "install one"),
    }
    offered = tuple(backend(name) for name in found)
    monkeypatch.setattr(backends, "BACKENDS", offered)
    monkeypatch.setattr(
        backends, "examine", lambda state_dir: list(found.values()) if state_dir == STATE else []
    )

    def checks(source: DesktopSpec, streamed: Backend | None) -> list[tuple[str, bool, str | None]]:
        pool = None if streamed is None else SimpleNamespace(backend=streamed)
        config = SimpleNamespace(host=SimpleNamespace(source=source))
        serving: Any = SimpleNamespace(config=config, desktop=pool, state_dir=STATE)
        return [(check.name, check.ok, check.fix) for check in readiness._desktops(serving)]

    assert checks(DesktopSpec(), offered[2]) == [
        ("desktop kwin", True, "start one"),
        ("desktop mutter", False, "unlock it"),
        ("desktop wlroots", True, None),
        ("desktop portal", True, "install one"),
    ]
    assert checks(DesktopSpec(), None)[3] == ("desktop portal", False, "install one")
    assert checks(DesktopSpec(backend=BackendName.WLROOTS), offered[2]) == [], "it was asked for by name"


def test_the_management_api_has_what_can_run_here_and_by_default_what_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (
        (BackendName.KWIN, "kwin"),
        (BackendName.MUTTER, "mutter"),
        (BackendName.PORTAL, ""),
        (BackendName.HEADLESS_SWAY, "wlroots"),
        (BackendName.GAMESCOPE, "gamescope"),
    )
    offered = tuple(
        Backend(name, compositor, name, "", lambda _state_dir: found[0], backend(name).open)
        for name, compositor in names
    )
    monkeypatch.setattr(backends, "BACKENDS", offered)
    found = [Availability(each.name, each.name is not BackendName.KWIN, "") for each in offered]
    monkeypatch.setattr(backends, "examine", lambda state_dir: found if state_dir == STATE else [])

    def told(streamed: Backend | None, source: HostSource = DesktopSpec()) -> tuple[list[str], list[str]]:  # noqa: B008 - it does not change
        host = object.__new__(management.HostManagement)
        pool: Any = None if streamed is None else SimpleNamespace(backend=streamed)
        config = SimpleNamespace(host=SimpleNamespace(source=source))
        serving: Any = SimpleNamespace(desktop=pool, config=config, state_dir=STATE)
        host._serving = serving
        listed = asyncio.run(host.compositors())
        return [each.id for each in listed if each.available], [each.id for each in listed if each.default]

    there = ["gamescope", "mutter", "wlroots"]
    assert told(offered[3]) == (there, ["wlroots"])
    assert told(offered[2]) == (there, []), "whatever the portal shows"
    assert told(None) == (there, ["mutter"]), "the first that would be taken"
    each_its_own = DesktopSpec(backend=BackendName.GAMESCOPE)
    assert told(None, each_its_own) == (there, ["gamescope"]), "what each client gets"
