"""A desktop by a portal whose person is slow, says no, stops sharing, or has said yes before; the bus is real."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from dbus_fast import Variant

from punktfunk import cli
from punktfunk.desktop import BackendName, DesktopOptions, backends
from punktfunk.desktop.app_id import APP_ID
from punktfunk.desktop.capture import PipeWireScreen
from punktfunk.desktop.portal import portal_desktop
from punktfunk.desktop.portal.examine import examine
from punktfunk.desktop.portal.grants import GRANTS_FILE, GrantKey, GrantStore
from punktfunk.desktop.portal.portal_desktop import PortalDesktop
from punktfunk.errors import (
    CapabilityError,
    ConsentAwaitedError,
    ConsentRefusedError,
    DesktopError,
    SessionClosedError,
    SharingStoppedError,
)
from punktfunk.host.config import HostConfig
from punktfunk.host.readiness import examine_host
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.units import Mode
from tests.support.dbus import session_bus
from tests.support.fake_portal import STREAM, Answer, FakePortal, kept
from tests.support.waiting import PATIENCE_S, eventually, soon

MODE, OTHER = Mode(1920, 1080, 60), Mode(800, 600, 30)
KEY = GrantKey("Fake", "fake", "remote-desktop", APP_ID)
VIRTUAL = {
    "streams": Variant("a(ua{sv})", [[43, {"source_type": Variant("u", 4), "mapping_id": Variant("s", "m")}]])
}

Open = Callable[..., PortalDesktop]


@pytest.fixture
def fake(
    tmp_path: Path, need_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakePortal]:
    """A portal on a session bus that this process has in its environment."""
    need_tool("dbus-daemon")
    need_tool("pipewire")
    with session_bus(tmp_path) as (address, _):
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setenv("XDG_CURRENT_DESKTOP", "Fake")
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-fake")
        running = FakePortal(address)
        yield running
        running.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder."""
    return tmp_path / "state"


@pytest.fixture
def open_desktop(fake: FakePortal, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a desktop, closed in the end; its patience with a person is short."""
    monkeypatch.setattr(portal_desktop, "OPEN_WAIT_S", PATIENCE_S)
    monkeypatch.setattr(portal_desktop, "STOPPED_S", 0.0)
    opened: list[PortalDesktop] = []

    def begin(*, keep: bool = True) -> PortalDesktop:
        options = DesktopOptions(audio=False, state_dir=state if keep else None)
        opened.append(PortalDesktop(options, by_eis=False))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def unanswered(fake: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the person do nothing, and nobody wait for it."""
    fake.answers["Start"] = [Answer(never=True)]
    for name in ("OPEN_WAIT_S", "PROVIDE_WAIT_S"):
        monkeypatch.setattr(portal_desktop, name, 0.05)


def test_what_is_granted_is_shown_to_every_client_and_read_by_a_connection_each(
    open_desktop: Open, fake: FakePortal
) -> None:
    desktop = open_desktop()
    first, second = desktop.provide(MODE), desktop.provide(OTHER)
    assert first.screen == second.screen
    assert isinstance(first.screen, PipeWireScreen)
    assert (first.screen.node, first.screen.sized, first.screen.cursor) == (STREAM[0], False, "embedded")
    assert (first.mode, second.mode) == (MODE, OTHER)
    for output in (first, second):
        assert output.open_remote is not None
        os.close(output.open_remote())
    assert len(fake.of("OpenPipeWireRemote")) == 3, "one is the desktop's own"
    assert "one of its monitors, the same for every client" in desktop.description
    assert desktop.takes_touch
    assert desktop.notice is None


def test_a_monitor_that_is_made_has_the_size_of_the_only_client_and_keeps_it_for_a_second(
    open_desktop: Open, fake: FakePortal
) -> None:
    fake.answers["Start"] = [Answer(results=VIRTUAL)]
    desktop = open_desktop()
    first = desktop.provide(MODE)
    assert isinstance(first.screen, PipeWireScreen)
    assert first.screen.sized
    assert desktop.change(first, OTHER).screen == first.screen
    second = desktop.provide(MODE)
    assert isinstance(second.screen, PipeWireScreen)
    assert not second.screen.sized, "it takes what there is, and scales"
    desktop.give_back(second)
    assert desktop.change(first, MODE).screen == first.screen


def test_positions_count_on_the_picture(open_desktop: Open, fake: FakePortal) -> None:
    desktop = open_desktop()
    desktop.provide(MODE)
    desktop.inject(InputEvent(InputKind.MOUSE_ABSOLUTE, x=50, y=50, surface=SurfaceSize(100, 100)))
    desktop.inject(InputEvent(InputKind.KEY_DOWN, 0x41))
    eventually(lambda: len(fake.of("NotifyKeyboardKeycode")) == 3, "the key, after F24 for its keyboard")
    assert fake.of("NotifyPointerMotionAbsolute")[0].arguments[2:] == [STREAM[0], 640.0, 360.0]
    assert desktop.release_all() == {"injected": 2}
    eventually(lambda: len(fake.of("NotifyKeyboardKeycode")) == 4, "its release")


def test_what_was_kept_is_presented_and_replaced_and_nothing_is_open_without_a_stream(
    open_desktop: Open, fake: FakePortal, state: Path
) -> None:
    fake.answers["Start"] = [Answer(results=kept(f"token {n}")) for n in range(9)]
    desktop = open_desktop()
    assert "restore_token" not in fake.of("SelectDevices")[0].options
    assert GrantStore(state).token(KEY) == "token 0"
    assert not fake.closed, "it was asked for, and stays until its stream ends"
    first, second = desktop.provide(MODE), desktop.provide(OTHER)
    desktop.give_back(first)
    assert not fake.closed, "another client looks on"
    desktop.give_back(second)
    eventually(lambda: fake.closed == fake.sessions, "nothing is shared without a stream")
    lent = desktop.provide(MODE)
    assert fake.of("SelectDevices")[-1].options["restore_token"] == "token 0"
    assert GrantStore(state).token(KEY) == "token 1"
    desktop.give_back(lent)
    desktop.close()
    open_desktop()
    assert fake.of("SelectDevices")[-1].options["restore_token"] == "token 1"
    eventually(lambda: fake.closed == fake.sessions, "opened, found to work, and ended until a client comes")


def test_a_session_that_cannot_be_had_again_stays(open_desktop: Open, fake: FakePortal) -> None:
    desktop = open_desktop()
    desktop.give_back(desktop.provide(MODE))
    desktop.provide(MODE)
    assert not fake.closed
    assert len(fake.sessions) == 1
    desktop.close()
    assert fake.closed == fake.sessions


def test_a_token_that_does_not_spare_the_question_is_not_relied_on_again(
    open_desktop: Open, fake: FakePortal, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("punktfunk.desktop.portal.requests.FIRST_WORD_S", 0.02)
    GrantStore(state).keep(KEY, "forged")
    fake.answers["Start"] = [Answer(results=kept("new"), after_s=0.2)]
    desktop = open_desktop()
    assert fake.of("SelectDevices")[0].options["restore_token"] == "forged"
    assert GrantStore(state).token(KEY) == "new"
    desktop.give_back(desktop.provide(MODE))
    assert not fake.closed, "a question in the night would have nobody to answer it"


def test_a_token_that_is_used_up_and_not_followed_by_another_is_forgotten(
    open_desktop: Open, fake: FakePortal, state: Path
) -> None:
    GrantStore(state).keep(KEY, "last")
    open_desktop()
    assert GrantStore(state).token(KEY) is None


def test_without_a_folder_nothing_is_written(open_desktop: Open, fake: FakePortal, state: Path) -> None:
    fake.answers["Start"] = [Answer(results=kept("token"))]
    open_desktop(keep=False)
    assert not (state / GRANTS_FILE).exists()


def test_while_the_question_is_open_a_client_is_told_so_and_gets_its_picture_once_it_is_answered(
    open_desktop: Open, fake: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(fake, monkeypatch)
    desktop = open_desktop()
    assert "asks on its screen" in desktop.description
    assert isinstance(desktop.notice, ConsentAwaitedError)
    for _ in range(2):
        with pytest.raises(ConsentAwaitedError) as raised:
            desktop.provide(MODE)
        assert "answer it there" in raised.value.hint
    eventually(lambda: fake.of("Start"), "the question")
    assert len(fake.of("Start")) == 1, "one question, however many clients"
    desktop.inject(InputEvent(InputKind.KEY_DOWN, 0x41))
    assert desktop.release_all() == {}
    fake.answer_start()
    eventually(lambda: desktop.notice is None, "the answer")
    assert desktop.provide(MODE).name == "portal-42"


def test_a_question_that_is_open_is_taken_back_when_the_desktop_is_closed(
    open_desktop: Open, fake: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(fake, monkeypatch)
    desktop = open_desktop()
    eventually(lambda: fake.of("Start"), "the question")
    desktop.close()
    desktop.close()
    assert [path.split("/")[5] for path in fake.closed] == ["request", "session"]
    with pytest.raises(SessionClosedError):
        desktop.provide(MODE)


def test_a_no_at_the_start_is_said_at_once(open_desktop: Open, fake: FakePortal) -> None:
    fake.answers["Start"] = [Answer(1)]
    with pytest.raises(ConsentRefusedError):
        open_desktop()
    assert fake.closed == fake.sessions


def test_who_has_said_no_is_asked_again_after_a_while_alone(
    open_desktop: Open, fake: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["Start"] = [Answer(), Answer(1), Answer()]
    desktop = open_desktop()
    fake.end_session()
    eventually(lambda: desktop.failure is not None, "the end")
    for _ in range(3):
        with pytest.raises(ConsentRefusedError):
            desktop.provide(MODE)
    assert len(fake.of("Start")) == 2
    monkeypatch.setattr(portal_desktop, "ASK_AGAIN_S", 0.0)
    desktop.provide(MODE)
    assert desktop.failure is None


def test_sharing_that_is_stopped_is_a_failure_and_opened_again_for_who_comes_later(
    open_desktop: Open, fake: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_desktop, "STOPPED_S", 60.0)
    monkeypatch.setattr(portal_desktop, "_LAST_SIGNS_S", 0.1)
    fake.answers["Start"] = [Answer(results=kept("token"))]
    desktop = open_desktop()
    lent = desktop.provide(MODE)
    fake.end_session()
    eventually(lambda: desktop.failure is not None, "the end")
    assert desktop.notice is desktop.failure
    with pytest.raises(DesktopError, match="stopped"):
        desktop.change(lent, OTHER)
    for _ in range(2):
        with pytest.raises(SharingStoppedError, match="was stopped on it"):
            desktop.provide(MODE)
    assert len(fake.sessions) == 1, "whoever has stopped it has nobody see the desktop for a minute"
    monkeypatch.setattr(portal_desktop, "STOPPED_S", 0.0)
    again = desktop.provide(MODE)
    assert desktop.failure is None
    assert len(fake.sessions) == 2
    with pytest.raises(DesktopError, match="gone with its session"):
        desktop.change(lent, OTHER)
    desktop.give_back(lent)
    assert fake.sessions[1] not in fake.closed, (
        "what is given back late is no output of the session that came since"
    )
    desktop.give_back(again)
    eventually(lambda: fake.sessions[1] in fake.closed, "nothing is shared without a stream")


def test_a_back_end_that_ends_is_a_failure_although_the_portal_says_nothing_of_it(
    open_desktop: Open, fake: FakePortal
) -> None:
    desktop = open_desktop()
    desktop.provide(MODE)
    fake.lose_back_end()
    eventually(lambda: desktop.failure is not None, "the end")
    desktop.provide(MODE)
    assert len(fake.sessions) == 2


def test_a_pipewire_that_ends_is_a_failure_although_nobody_says_anything_of_it(
    open_desktop: Open, fake: FakePortal
) -> None:
    desktop = open_desktop()
    lent = desktop.provide(MODE)
    fake.lose_servers()
    assert isinstance(desktop.notice, DesktopError)
    with pytest.raises(DesktopError, match="PipeWire"):
        desktop.change(lent, OTHER)
    desktop.provide(MODE)
    assert desktop.failure is None
    assert len(fake.sessions) == 2


def test_a_portal_that_is_started_anew_is_asked_anew_with_the_token(
    open_desktop: Open, fake: FakePortal
) -> None:
    fake.answers["Start"] = [Answer(results=kept("token"))]
    desktop = open_desktop()
    desktop.provide(MODE)
    fake.restart()
    eventually(lambda: desktop.failure is not None, "the end")
    desktop.provide(MODE)
    assert desktop.failure is None
    assert fake.of("SelectDevices")[-1].options["restore_token"] == "token"
    assert fake.members().count("Register") == 2


def test_a_portal_that_has_gone_for_good_is_an_error_and_input_for_it_goes_nowhere(
    open_desktop: Open, fake: FakePortal
) -> None:
    desktop = open_desktop()
    fake.leave()
    eventually(lambda: desktop.failure is not None, "the end")
    with pytest.raises(CapabilityError, match="no portal answers"):
        desktop.provide(MODE)
    desktop.inject(InputEvent(InputKind.KEY_DOWN, 0x41))
    desktop.close()


@pytest.mark.parametrize(
    ("gone", "granted", "words"),
    [("RemoteDesktop", 7, "which its portal does not take"), ("", 0, "which was not allowed")],
)
def test_a_desktop_without_input_is_shown_and_says_so(
    open_desktop: Open, fake: FakePortal, gone: str, granted: int, words: str
) -> None:
    fake.properties.pop(gone, None)
    fake.answers["Start"] = [Answer(results={"devices": Variant("u", granted)})]
    desktop = open_desktop()
    assert desktop.provide(MODE).name == "portal-42"
    assert f"without input, {words}" in desktop.description
    assert not desktop.takes_touch
    desktop.inject(InputEvent(InputKind.KEY_DOWN, 0x41))
    assert desktop.release_all() == {}


def test_its_examination_says_who_answers_and_whether_it_will_ask_and_asks_nobody(
    fake: FakePortal, state: Path
) -> None:
    found = examine(state)
    assert found.usable
    assert found.reason == (
        "the portal of fake answers (ScreenCast 5, makes monitors; RemoteDesktop 2, input by EIS) "
        "and asks once, on its screen"
    )
    GrantStore(state).keep(KEY, "token")
    assert examine(state).reason.endswith("and does not ask: a grant is kept")
    assert examine().reason.endswith("and asks once, on its screen"), "nothing is kept anywhere"
    fake.properties["RemoteDesktop"]["version"] = 1
    assert examine(state).reason.endswith("input by its own methods) and asks at each start")
    del fake.properties["RemoteDesktop"]
    assert "no RemoteDesktop: without input" in examine(state).reason
    assert set(fake.members()) == {"Register"}


def test_the_doctor_and_the_choice_look_for_a_grant_where_the_host_keeps_it(
    fake: FakePortal, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    GrantStore(state).keep(KEY, "token")
    kept = "and does not ask: a grant is kept"
    assert backends.choose(BackendName.PORTAL, state)[1].reason.endswith(kept)

    def told(*options: str) -> str:
        cli.app(["doctor", "--json", *options], standalone_mode=False)
        rows = {row["name"]: row["detail"] for row in json.loads(capfd.readouterr().out)}
        return str(rows["running session by its portal"])

    assert told("--state-dir", str(state)).endswith(kept)
    assert told().endswith("and asks once, on its screen")


def test_without_a_portal_or_a_session_it_says_what_is_missing(
    fake: FakePortal, open_desktop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fake.properties["ScreenCast"]
    found = examine()
    assert not found.usable
    assert "xdg-desktop-portal" in found.hint
    with pytest.raises(CapabilityError, match="ScreenCast"):
        open_desktop()
    fake.leave()
    found = examine()
    assert (found.usable, found.absent) == (False, False)
    assert "no portal answers" in found.reason
    assert "xdg-desktop-portal" in found.hint
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    found = examine()
    assert (found.usable, found.absent) == (False, True)


def test_clients_that_come_together_are_one_question(open_desktop: Open, fake: FakePortal) -> None:
    desktop = open_desktop()
    fake.end_session()
    eventually(lambda: desktop.failure is not None, "the end")
    fake.answers["Start"] = [Answer(after_s=0.1)]
    coming = [threading.Thread(target=desktop.provide, args=[MODE]) for _ in range(4)]
    for each in coming:
        each.start()
    for each in coming:
        each.join(PATIENCE_S)
    assert len(fake.sessions) == 2


def test_the_command_names_the_program_waits_for_the_answer_and_keeps_it_and_revoking_takes_all_of_it(
    fake: FakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    del fake.properties["RemoteDesktop"]  # the fake one has no EIS server behind it
    entry = tmp_path / "data" / "applications" / f"{APP_ID}.desktop"
    folder = ("--state-dir", str(tmp_path / "state"))
    fake.answers["Start"] = [Answer(results=kept("token"), after_s=0.1)]
    cli.app(["desktop", "grant", "portal", *folder], standalone_mode=False)
    said = capfd.readouterr().out
    assert entry.read_text().startswith("[Desktop Entry]")
    assert "NoDisplay=true" in entry.read_text()
    assert "granted    this desktop by its portal (fake): one of its monitors" in said
    assert f"kept       {tmp_path / 'state' / GRANTS_FILE}" in said
    assert fake.closed == fake.sessions, "nothing is shared now"
    assert "SetPermission" not in fake.members()
    cli.app(["desktop", "revoke", "portal", *folder], standalone_mode=False)
    assert "may not capture by portal any more" in capfd.readouterr().out
    assert not entry.exists()
    assert not (tmp_path / "state" / GRANTS_FILE).exists()
    cli.app(["desktop", "revoke", "portal", *folder], standalone_mode=False)
    assert "there was no grant" in capfd.readouterr().out


def test_an_answer_that_is_no_or_not_to_be_had_again_is_what_the_command_says(
    fake: FakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    del fake.properties["RemoteDesktop"]  # the fake one has no EIS server behind it
    order = ["desktop", "grant", "portal", "--state-dir", str(tmp_path / "state")]
    cli.app(order, standalone_mode=False)
    assert "kept       no: it will ask at each start" in capfd.readouterr().out
    monkeypatch.setattr(portal_desktop, "OPEN_WAIT_S", 0.01)
    fake.answers["Start"] = [Answer(1, after_s=0.1)]
    with pytest.raises(SystemExit) as ended:
        cli.app(order, standalone_mode=False)
    assert ended.value.code == ConsentRefusedError.exit_code
    printed = capfd.readouterr()
    assert "asked      answer the question" in printed.out
    assert "was not allowed to be shared" in printed.err


def test_a_desktop_whose_input_server_cannot_be_reached_is_shown_and_says_so(fake: FakePortal) -> None:
    with PortalDesktop(
        DesktopOptions(audio=False)
    ) as desktop:  # the fake one gives a pipe, which is no socket
        assert desktop.provide(MODE).name == "portal-42"
        assert "without input: the desktop gave no socket for its input connection" in desktop.description
        assert not desktop.takes_touch


def test_a_host_comes_up_while_the_question_is_open_and_says_so_to_who_starts_it_and_who_looks_at_it(
    fake: FakePortal, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(fake, monkeypatch)
    source = DesktopSpec(backend=BackendName.PORTAL, audio=False)
    host = HostConfig(port=0, state_dir=state, source=source, codec="h264")
    config = ServeConfig(host=host, management=False, announce=False, gamestream=False)

    async def scenario() -> None:
        async with Serving(config) as serving:
            assert any("WARNING" in line and "asks on its screen" in line for line in serving.banner())
            report = await examine_host(serving)
            [check] = [each for each in report.checks if each.name == "source"]
            assert not check.ok
            assert not report.ready
            assert "asks on its screen whether it may be shared" in check.text
            fake.answer_start()
            await soon(lambda: serving.desktop is not None and serving.desktop.notice is None, "the answer")
            report = await examine_host(serving)
            assert all(each.ok for each in report.checks if each.name == "source")

    asyncio.run(asyncio.wait_for(scenario(), 60))
