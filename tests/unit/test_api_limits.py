"""Every limit of the management API holds at its value and bites one beyond it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from punktfunk.mgmt.connection_limits import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, Connections
from punktfunk.mgmt.console_sessions import (
    MAX_SESSIONS,
    MAX_TICKETS,
    SESSION_IDLE_NS,
    SESSION_LIFE_NS,
    TICKET_LIFE_NS,
    ConsoleSessions,
)
from punktfunk.mgmt.events import LOG_EVENTS, QUEUE_EVENTS, EventHub
from punktfunk.mgmt.gate import Gate
from punktfunk.mgmt.models import ArmOrder
from punktfunk.mgmt.shell import MAX_BODY_BYTES, MAX_DRAIN_BYTES, MAX_HEAD_BYTES, Message, Shell
from punktfunk.mgmt.token import BearerToken

TOKEN = "0123456789abcdef"
JSON = (b"content-type", b"application/json")


class Exchange:
    """One request to a shell around an application that answers 200 with the length of the body that it got."""

    def __init__(
        self, *, headers: list[tuple[bytes, bytes]], pieces: list[bytes], token: str = TOKEN
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.bodies: list[int] = []
        self.sent: list[Message] = []
        self.heard = 0
        self._pieces: Iterator[bytes] = iter(pieces)
        self._left = len(pieces)
        gate = Gate(BearerToken(TOKEN), ConsoleSessions(), port=1)
        common = [(b"host", b"localhost"), (b"authorization", b"Bearer " + token.encode())]
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": [*common, *headers]}
        asyncio.run(Shell(self._app, gate, self.counters)(scope, self._receive, self._send))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def closes(self) -> bool:
        return (b"connection", b"close") in self.sent[0]["headers"]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(len(body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _receive(self) -> Message:
        piece = next(self._pieces)
        self.heard += len(piece)
        self._left -= 1
        return {"type": "http.request", "body": piece, "more_body": self._left > 0}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def announced(length: int) -> list[tuple[bytes, bytes]]:
    return [JSON, (b"content-length", str(length).encode())]


def in_pieces(length: int, piece: int = 4096) -> list[bytes]:
    return [bytes(min(piece, length - at)) for at in range(0, length, piece)]


CHUNKED = [JSON, (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("headers", [announced(MAX_BODY_BYTES), CHUNKED], ids=["announced", "chunked"])
def test_a_body_of_the_limit_reaches_the_application_whole(headers: Any) -> None:
    exchange = Exchange(headers=headers, pieces=in_pieces(MAX_BODY_BYTES))
    assert (exchange.status, exchange.bodies) == (200, [MAX_BODY_BYTES])
    assert not exchange.counters


@pytest.mark.parametrize("headers", [announced(MAX_BODY_BYTES + 1), CHUNKED], ids=["announced", "chunked"])
def test_a_body_of_one_byte_more_reaches_nobody_and_its_sender_hears_why(headers: Any) -> None:
    exchange = Exchange(headers=headers, pieces=in_pieces(MAX_BODY_BYTES + 1))
    assert (exchange.status, exchange.bodies) == (413, [])
    assert str(MAX_BODY_BYTES) in json.loads(exchange.sent[1]["body"])["error"]
    assert exchange.counters == {"refused_413": 1}
    assert exchange.heard == MAX_BODY_BYTES + 1
    assert not exchange.closes, "what was read to its end leaves the connection usable"


@pytest.mark.parametrize("over", [0, 1])
def test_a_refused_body_is_read_up_to_the_drain_limit_and_no_further(over: int) -> None:
    length = MAX_DRAIN_BYTES + over
    exchange = Exchange(headers=announced(length), pieces=in_pieces(length), token="wrong")
    assert exchange.status == 401
    assert exchange.closes is bool(over)
    assert exchange.heard == (0 if over else length)


def test_a_refused_body_without_a_length_is_given_up_at_the_drain_limit() -> None:
    exchange = Exchange(headers=CHUNKED, pieces=in_pieces(3 * MAX_DRAIN_BYTES), token="wrong")
    assert (exchange.status, exchange.closes) == (401, True)
    assert exchange.heard == MAX_DRAIN_BYTES


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_a_head_of_the_limit_is_taken_and_one_byte_more_is_refused(over: int, status: int) -> None:
    common = sum(map(len, (b"host", b"localhost", b"authorization", b"Bearer ", TOKEN.encode(), b"x")))
    filler = bytes(MAX_HEAD_BYTES - common + over)
    assert Exchange(headers=[(b"x", filler)], pieces=[b""]).status == status


def test_a_body_with_two_lengths_is_refused() -> None:
    assert Exchange(headers=[*announced(4), *CHUNKED], pieces=[b"1234"]).status == 400


def test_one_address_has_its_share_of_the_connections_and_all_addresses_theirs() -> None:
    connections = Connections()
    assert [connections.admit("a") for _ in range(MAX_CONNECTIONS_PER_SOURCE + 1)] == [
        *[True] * MAX_CONNECTIONS_PER_SOURCE,
        False,
    ]
    others = [connections.admit(f"b{n}") for n in range(MAX_CONNECTIONS)]
    assert others == [n < MAX_CONNECTIONS - MAX_CONNECTIONS_PER_SOURCE for n in range(MAX_CONNECTIONS)]
    assert connections.counters == {
        "taken": MAX_CONNECTIONS,
        "refused_full": 1 + MAX_CONNECTIONS_PER_SOURCE,
    }
    connections.release("a")
    assert connections.admit("c"), "a place that was given back is for anybody"
    assert not connections.admit("c")


def test_what_a_connection_held_is_forgotten_with_it() -> None:
    connections = Connections()
    for n in range(10 * MAX_CONNECTIONS):
        assert connections.admit(f"source {n}")
        connections.release(f"source {n}")
    assert len(connections._per_source) == 0


def test_a_session_lasts_to_the_end_of_its_idle_time_and_of_its_life() -> None:
    sessions = ConsoleSessions()
    idle = sessions.open(0, by_ticket=False)
    assert sessions.find(idle, SESSION_IDLE_NS - 1) is not None
    assert sessions.find(idle, 2 * SESSION_IDLE_NS - 1) is None, "idle since it was last used"
    busy = sessions.open(0, by_ticket=False)
    for now_ns in range(0, SESSION_LIFE_NS - 1, SESSION_IDLE_NS - 1):
        assert sessions.find(busy, now_ns) is not None
    assert sessions.find(busy, SESSION_LIFE_NS - 1) is not None
    assert sessions.find(busy, SESSION_LIFE_NS) is None


def test_the_session_that_was_quiet_longest_gives_way_and_not_the_one_that_is_oldest() -> None:
    sessions = ConsoleSessions()
    values = [sessions.open(n, by_ticket=False) for n in range(MAX_SESSIONS)]
    assert sessions.find(values[0], MAX_SESSIONS) is not None
    sessions.open(MAX_SESSIONS, by_ticket=False)
    assert sessions.find(values[0], MAX_SESSIONS) is not None
    assert sessions.find(values[1], MAX_SESSIONS) is None


def test_a_session_that_is_over_takes_no_place() -> None:
    sessions = ConsoleSessions()
    kept = sessions.open(SESSION_IDLE_NS, by_ticket=False)
    for _ in range(MAX_SESSIONS - 1):
        sessions.open(0, by_ticket=False)
    sessions.open(SESSION_IDLE_NS, by_ticket=False)
    assert sessions.find(kept, SESSION_IDLE_NS) is not None


def test_looking_whether_a_session_holds_does_not_use_it() -> None:
    sessions = ConsoleSessions()
    session = sessions.find(sessions.open(0, by_ticket=True), 0)
    assert session is not None
    assert session.by_ticket
    assert sessions.holds(session, SESSION_IDLE_NS - 1)
    assert not sessions.holds(session, SESSION_IDLE_NS)


def test_a_ticket_is_good_to_the_end_of_its_life_and_once() -> None:
    sessions = ConsoleSessions()
    first, second = sessions.issue_ticket(0), sessions.issue_ticket(0)
    assert sessions.redeem(first, TICKET_LIFE_NS - 1)
    assert not sessions.redeem(first, TICKET_LIFE_NS - 1)
    assert not sessions.redeem(second, TICKET_LIFE_NS)


def test_as_many_tickets_as_the_limit_are_good_at_once() -> None:
    sessions = ConsoleSessions()
    tickets = [sessions.issue_ticket(0) for _ in range(MAX_TICKETS + 1)]
    assert [sessions.redeem(ticket, 1) for ticket in tickets] == [False, *[True] * MAX_TICKETS]


def test_ending_other_sessions_spares_the_one_named_and_tells_readers() -> None:
    sessions = ConsoleSessions()
    told: list[bool] = []
    sessions.on_close = lambda: told.append(True)
    kept, other = (sessions.open(0, by_ticket=False) for _ in range(2))
    sessions.close_others(sessions.find(kept, 0))
    assert sessions.find(kept, 0) is not None
    assert sessions.find(other, 0) is None
    session = sessions.find(kept, 0)
    assert session is not None
    sessions.close(session)
    assert sessions.find(kept, 0) is None
    assert told == [True, True]


def test_a_reader_may_lag_by_the_whole_queue_and_reads_all_of_it_when_it_catches_up() -> None:
    hub = EventHub(dict, lambda _there: None)
    reader = hub.subscribe()
    assert reader is not None
    for turn in range(3):
        for number in range(QUEUE_EVENTS):
            hub.publish("session", {"number": number})
        assert not reader.over
        events = []
        while (event := reader.take()) is not None:
            events.append(event)
        assert len(events) == QUEUE_EVENTS + (turn == 0), "the state comes first, once"
    for number in range(QUEUE_EVENTS + 1):
        hub.publish("session", {"number": number})
    assert reader.over


def test_a_log_line_is_left_out_only_beyond_its_share_of_the_queue() -> None:
    hub = EventHub(dict, lambda _there: None)
    assert hub.subscribe() is not None
    for number in range(LOG_EVENTS):
        hub.publish_log({"number": number})
    assert hub.counters["log_lines_left_out"] == 0
    hub.publish_log({"number": LOG_EVENTS})
    assert hub.counters["log_lines_left_out"] == 1
    for number in range(QUEUE_EVENTS - LOG_EVENTS):
        hub.publish("session", {"number": number})
    assert (hub.readers, hub.counters["slow_readers"]) == (1, 0)


@pytest.mark.parametrize("digits", [63, 64, 65])
def test_a_fingerprint_has_64_hexadecimal_digits(digits: int) -> None:
    text = "aB" * 32 + "c"
    if digits == 64:
        assert ArmOrder(fingerprint=text[:64]).fingerprint == text[:64]
        with pytest.raises(ValidationError):
            ArmOrder(fingerprint=text[:63] + "g")
    else:
        with pytest.raises(ValidationError):
            ArmOrder(fingerprint=text[:digits])


def test_a_time_to_live_is_a_whole_number_from_zero() -> None:
    assert ArmOrder(ttl_secs=0).ttl_secs == 0
    for wrong in (-1, 1.5, True, "60"):
        with pytest.raises(ValidationError):
            ArmOrder(ttl_secs=wrong)  # type: ignore[arg-type]
