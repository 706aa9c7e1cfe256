"""A portal that answers early, late, elsewhere, by an error or never; the bus between is real."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from punktfunk.desktop.bus_reply import BusError
from punktfunk.desktop.portal import requests
from punktfunk.desktop.portal.choice import plan
from punktfunk.desktop.portal.requests import REMOTE_DESKTOP, SCREEN_CAST, Portal, RequestEndedError
from punktfunk.desktop.portal.session import PortalSession, open_session
from punktfunk.desktop.session_bus import SessionBus
from punktfunk.errors import ConsentAwaitedError, ConsentRefusedError, DesktopError, SessionClosedError
from tests.support.dbus import session_bus
from tests.support.fake_portal import PATH, Answer, FakePortal, kept
from tests.support.waiting import PATIENCE_S, eventually

BAD_TOKEN = "org.freedesktop.portal.Error.InvalidArgument"


@pytest.fixture
def address(tmp_path: Path, need_tool: Callable[..., str]) -> Iterator[str]:
    """A bus of its own."""
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as (where, _):
        yield where


@pytest.fixture
def fake(address: str) -> Iterator[FakePortal]:
    """The other side."""
    running = FakePortal(address)
    yield running
    running.close()


@pytest.fixture
def lost() -> queue.SimpleQueue[DesktopError]:
    """What was told to have gone."""
    return queue.SimpleQueue()


@pytest.fixture
def portal(address: str, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]) -> Iterator[Portal]:
    """A portal as the product sees it."""
    with SessionBus(address) as bus:
        asked = Portal(bus, lost.put)
        yield asked
        asked.close()


def opened(
    portal: Portal,
    lost: queue.SimpleQueue[DesktopError],
    token: str | None = None,
    on_wait: Callable[[float], None] | None = None,
) -> PortalSession:
    return open_session(portal, plan(portal.offer()), token, on_closed=lost.put, on_wait=on_wait)


def test_it_says_what_it_offers_and_whose_it_is(portal: Portal, fake: FakePortal) -> None:
    offer = portal.offer()
    assert (offer.screen_cast, offer.remote_desktop) == (5, 2)
    assert (offer.sources, offer.cursors, offer.devices) == (7, 7, 7)
    assert portal.back_end() == "fake"
    del fake.properties["RemoteDesktop"]
    assert portal.offer().remote_desktop == 0
    del fake.properties["ScreenCast"]
    assert portal.back_end() == ""


def test_it_is_told_who_asks_where_it_takes_that(portal: Portal, fake: FakePortal) -> None:
    assert portal.register("org.example.App")
    assert fake.of("Register")[0].arguments == ["org.example.App", {}]
    fake.registry = False
    assert not portal.register("org.example.App")


def test_a_session_asks_for_screen_and_input_together_and_to_be_kept(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    session = opened(portal, lost, "token")
    assert session.started.stream.node == 42
    assert fake.members() == ["CreateSession", "SelectDevices", "SelectSources", "Start"]
    path, devices = fake.of("SelectDevices")[0].arguments
    assert path == session.path == fake.sessions[0]
    assert (devices["types"], devices["persist_mode"], devices["restore_token"]) == (7, 2, "token")
    sources = fake.of("SelectSources")[0].options
    assert (sources["types"], sources["cursor_mode"], sources["multiple"]) == (5, 2, False)
    assert "persist_mode" not in sources, "a session with input keeps both by one token"
    for member in (session.open_remote, session.connect_to_eis):
        descriptor = member()
        expected = b"OpenPipeWireRemote" if member == session.open_remote else b"ConnectToEIS"
        assert os.read(descriptor, 99) == expected
        os.close(descriptor)
    session.close()
    session.close()
    assert fake.closed == [session.path]


def test_without_input_the_screen_alone_is_kept(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    del fake.properties["RemoteDesktop"]
    opened(portal, lost, "token").close()
    assert "SelectDevices" not in fake.members()
    sources = fake.of("SelectSources")[0].options
    assert (sources["persist_mode"], sources["restore_token"]) == (2, "token")


@pytest.mark.parametrize(
    "how", [Answer(early=True), Answer(other_handle=True, after_s=0.05), Answer(after_s=0.05)]
)
def test_an_answer_is_heard_whenever_and_wherever_it_comes(
    portal: Portal, fake: FakePortal, how: Answer
) -> None:
    fake.answers["CreateSession"] = [how]
    made = portal.request(SCREEN_CAST, "CreateSession", "", (), {"session_handle_token": ("s", "mine")})
    assert made["session_handle"].startswith(f"{PATH}/session/")


def test_the_tokens_of_two_requests_differ_and_cannot_be_guessed(portal: Portal, fake: FakePortal) -> None:
    for _ in range(2):
        portal.request(SCREEN_CAST, "CreateSession", "", (), {"session_handle_token": ("s", "mine")})
    first, second = (asked.options["handle_token"] for asked in fake.of("CreateSession"))
    assert first != second
    assert len(first) >= 16 + len("punktfunk_")


def test_another_program_cannot_answer_in_the_portals_place(
    address: str, portal: Portal, fake: FakePortal
) -> None:
    fake.answers["Start"] = [Answer(never=True)]
    answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(portal.request(SCREEN_CAST, "Start", "os", ("/a", ""), {}, limit_s=PATIENCE_S))
        except SessionClosedError as error:
            answers.put(error)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: fake.of("Start"), "the question")
    token = fake.of("Start")[0].options["handle_token"]
    with SessionBus(address) as other:
        handle = portal.object_path("request", token)
        from dbus_fast import Message, MessageType

        forged = Message(
            message_type=MessageType.SIGNAL,
            path=handle,
            interface="org.freedesktop.portal.Request",
            member="Response",
            signature="ua{sv}",
            body=[0, {}],
        )
        other._loop.call_soon_threadsafe(other._bus.send, forged)
        other.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId")
    portal.offer()  # whatever was sent before has come by now
    assert asking.is_alive()
    portal.close()
    asking.join(PATIENCE_S)
    assert isinstance(answers.get(timeout=PATIENCE_S), SessionClosedError)
    eventually(lambda: handle in fake.closed, "the question is taken back")


def test_a_persons_no_and_the_portals_own_end_are_told_apart(portal: Portal, fake: FakePortal) -> None:
    fake.answers["Start"] = [Answer(1), Answer(2)]
    with pytest.raises(ConsentRefusedError) as refused:
        portal.request(SCREEN_CAST, "Start", "os", ("/a", ""), {})
    assert "Share" in refused.value.hint
    with pytest.raises(RequestEndedError) as ended:
        portal.request(SCREEN_CAST, "Start", "os", ("/a", ""), {})
    assert "journalctl" in ended.value.hint


def test_an_open_question_is_told_of_again_and_again_and_taken_back_in_the_end(
    portal: Portal, fake: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FIRST_WORD_S", 0.05)
    monkeypatch.setattr(requests, "NEXT_WORD_S", 0.1)
    fake.answers["Start"] = [Answer(never=True)]
    told: list[float] = []
    with pytest.raises(ConsentAwaitedError):
        portal.request(SCREEN_CAST, "Start", "os", ("/a", ""), {}, limit_s=1.5, on_wait=told.append)
    assert len(told) >= 2
    assert told == sorted(told)
    assert told[0] >= 0.05
    eventually(lambda: fake.closed, "the question is taken back")
    assert "/request/" in fake.closed[0]


def test_a_token_that_the_portal_refuses_is_left_out_and_the_person_asked(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    fake.answers["SelectDevices"] = [Answer(error=BAD_TOKEN), Answer()]
    fake.answers["Start"] = [Answer(results=kept("new"))]
    assert opened(portal, lost, "forged").started.token == "new"
    first, second = (asked.options for asked in fake.of("SelectDevices"))
    assert (first["restore_token"], "restore_token" in second) == ("forged", False)
    assert fake.closed == [fake.sessions[0]], "the first session is not left behind"


def test_a_token_whose_session_the_portal_ends_is_left_out_too_and_a_no_is_a_no(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    fake.answers["Start"] = [Answer(2), Answer()]
    opened(portal, lost, "expired")
    assert len(fake.of("Start")) == 2
    fake.answers["Start"] = [Answer(1)]
    with pytest.raises(ConsentRefusedError):
        opened(portal, lost, "good")
    assert len(fake.of("Start")) == 3, "who says no is not asked twice"
    fake.answers["Start"] = [Answer(2)]
    with pytest.raises(RequestEndedError):
        opened(portal, lost)
    assert len(fake.of("Start")) == 4
    fake.answers["SelectSources"] = [Answer(error=BAD_TOKEN)]
    with pytest.raises(BusError):
        opened(portal, lost)


def test_the_end_of_a_session_is_told_once_and_not_of_one_that_was_closed(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    first = opened(portal, lost)
    first.close()
    fake.end_session()
    opened(portal, lost)
    fake.end_session()
    fake.end_session()
    assert "stopped" in lost.get(timeout=PATIENCE_S).cause
    portal.offer()
    assert lost.empty()


def test_a_portal_that_ends_or_is_started_anew_ends_questions_and_sessions(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    fake.answers["Start"] = [Answer(never=True)]
    failed: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            opened(portal, lost)
        except DesktopError as error:
            failed.put(error)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: fake.of("Start"), "the question")
    fake.restart()
    assert "portal has ended" in str(failed.get(timeout=PATIENCE_S))
    asking.join(PATIENCE_S)
    assert "portal has ended" in lost.get(timeout=PATIENCE_S).cause
    del fake.answers["Start"]
    opened(portal, lost)
    fake.leave()
    assert "portal has ended" in lost.get(timeout=PATIENCE_S).cause


def test_input_by_the_portal_names_its_session(
    portal: Portal, fake: FakePortal, lost: queue.SimpleQueue[DesktopError]
) -> None:
    session = opened(portal, lost)
    session.notify("NotifyPointerMotionAbsolute", "udd", 42, 1.5, 2.5)
    assert fake.of("NotifyPointerMotionAbsolute")[0].arguments == [session.path, {}, 42, 1.5, 2.5]
    assert REMOTE_DESKTOP.endswith("RemoteDesktop")
