"""Promise P15 for event streams: readers that lag, crowd, stay or lose their session hold nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from punktfunk.host.session_report import SessionReport
from punktfunk.mgmt.events import MAX_STREAMS
from punktfunk.mgmt.routes import events as events_route
from punktfunk.native.dialect import Dialect
from punktfunk.native.quic import Peer
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, eventually

EVENTS = "/api/v1/events"


class Reader:
    """Reads an event stream in a thread."""

    def __init__(self, client: httpx.Client) -> None:
        self.events: list[tuple[str, Any]] = []
        self.comments = 0
        self.status = 0
        self._head = threading.Event()
        self.ended = threading.Event()
        self._client = client
        threading.Thread(target=self._read, daemon=True).start()
        assert self._head.wait(PATIENCE_S)

    def _read(self) -> None:
        name = ""
        try:
            with self._client.stream("GET", EVENTS, timeout=2 * PATIENCE_S) as answer:
                self.status = answer.status_code
                self._head.set()
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.events.append((name, json.loads(line.removeprefix("data: "))))
                    elif line.startswith(":"):
                        self.comments += 1
        except httpx.HTTPError:
            pass
        finally:
            self._head.set()
            self.ended.set()

    def count(self, name: str) -> int:
        return sum(one == name for one, _ in self.events)


def metric(host: Any, line: str) -> float:
    text = host.program().get("/metrics").text
    [found] = [one for one in text.splitlines() if one.startswith(f"{line} ")]
    return float(found.rpartition(" ")[2])


def ask_and_read_nothing(host: Any, one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", host.port))
    one.sendall(
        f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {host.token}\r\n\r\n".encode()
    )


def until(holds: Callable[[], bool]) -> None:
    eventually(holds, "what the host has to tell")


@pytest.fixture
def deaf(managed: Callable[..., Any]) -> Iterator[tuple[Any, socket.socket]]:
    """A host, and a socket that has asked for its events and reads none of them."""
    host = managed()
    with socket.socket() as one:
        ask_and_read_nothing(host, one)
        yield host, one


@pytest.mark.measures  # a turn is some 20 ms
def test_a_reader_that_reads_nothing_is_dropped_and_holds_nobody(deaf: tuple[Any, socket.socket]) -> None:
    host, _ = deaf
    quick = Reader(host.program())
    until(lambda: metric(host, "punktfunk_event_streams") == 2)
    report = SessionReport(
        1,
        Peer(("127.0.0.1", 1), Dialect.PKF1, "ab" * 32),
        Mode(1280, 720, 60),
        None,
        stages={f"stage {n}": [1, 2, 3] for n in range(7)},
        counters={f"counter_{n}": 2**40 for n in range(400)},
    )

    def tell() -> None:
        for _ in range(16):
            for listener in tuple(host.serving.session_listeners):
                listener(report)

    longest = 0.0
    told = 0
    dropped = 'punktfunk_event_stream_events_total{event="slow_readers"}'
    while metric(host, dropped) == 0:
        assert told < 5000, "some 50 MB were told and the deaf reader is still there"
        began = time.monotonic()
        host.call(tell)
        told += 16
        until(lambda: quick.count("session") == told)  # noqa: B023 - called within this turn
        longest = max(longest, time.monotonic() - began)
    assert longest < 1, "the host waited for a reader that does not read"
    assert metric(host, dropped) == 1
    assert metric(host, "punktfunk_event_streams") == 1
    assert not quick.ended.is_set()


def test_streams_are_limited_and_places_are_given_back(deaf: tuple[Any, socket.socket]) -> None:
    host, leaver = deaf
    until(lambda: metric(host, "punktfunk_event_streams") == 1)
    readers = [Reader(host.program()) for _ in range(MAX_STREAMS - 1)]
    assert {reader.status for reader in readers} == {200}
    refused = host.program().get(EVENTS)
    assert refused.status_code == 503
    assert refused.json()["error"] == "16 event streams are open already"
    leaver.close()
    until(lambda: metric(host, "punktfunk_event_streams") < MAX_STREAMS)
    assert Reader(host.program()).status == 200


@pytest.mark.parametrize("way", ["signs out", "has its password changed", "stays too long"])
def test_an_event_stream_ends_with_the_session_that_opened_it(managed: Callable[..., Any], way: str) -> None:
    host = managed()
    browser, other = host.browser(), host.browser()
    reader, program = Reader(browser), Reader(host.program())
    until(lambda: reader.count("state") == 1)
    if way == "signs out":
        assert browser.post("/console/logout").status_code == 204
    elif way == "has its password changed":
        assert other.post("/console/password", json={"new": "a long enough password"}).status_code == 204
    else:
        sessions = host.serving.management._gate.sessions

        def age() -> None:
            for session in list(sessions._sessions.values()):
                session.began_ns -= 13 * 3600 * 10**9

        host.call(age)
        host.call(host.serving.pairing.disarm)
    assert reader.ended.wait(PATIENCE_S)
    assert not program.ended.is_set()
    assert browser.get("/api/v1/host").status_code == 401


def test_a_quiet_stream_shows_that_the_host_is_still_there(
    managed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_route, "COMMENT_S", 0.05)
    reader = Reader(managed().program())
    until(lambda: reader.comments >= 3)
    assert [name for name, _ in reader.events] == ["state"]


@pytest.mark.measures
def test_open_event_streams_do_not_delay_the_end_of_the_host(deaf: tuple[Any, socket.socket]) -> None:
    host, _ = deaf
    readers = [Reader(host.program()) for _ in range(4)]
    until(lambda: all(reader.count("state") for reader in readers))
    began = time.monotonic()
    host.end()
    assert time.monotonic() - began < 2
    assert all(reader.ended.wait(1) for reader in readers)


def test_the_state_is_told_again_when_pairing_changes_and_never_with_the_pin(
    managed: Callable[..., Any],
) -> None:
    host = managed()
    reader = Reader(host.program())
    pin = host.program().post("/api/v1/native/pair/arm", json={"ttl_secs": 600}).json()["pin"]
    until(lambda: reader.count("state") == 2)
    host.call(
        lambda: host.serving.pairing.pending.ask(
            "native", "cd" * 32, "tablet", "192.0.2.1", time.monotonic_ns()
        )
    )
    until(lambda: reader.count("state") == 3)
    assert host.program().delete("/api/v1/native/pair").status_code == 204
    until(lambda: reader.count("state") == 4)
    states = [data for name, data in reader.events if name == "state"]
    assert [state["pairing"]["armed"] for state in states] == [False, True, True, False]
    assert [len(state["pending"]) for state in states] == [0, 0, 1, 1]
    assert all(state["pairing"]["pin"] is None for state in states)
    assert f'"{pin}"' not in json.dumps(states)
