"""Whoever guesses the console's password guesses slowly, and keeps nobody else out while at it."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from punktfunk.attempts import MAX_SOURCES, AttemptLimiter
from punktfunk.mgmt.login import PASSWORD_FILE
from punktfunk.mgmt.sign_in_limits import (
    GUESS_PAUSE_S,
    LONGEST_LINE_S,
    MAX_FRIENDS,
    MAX_SOURCE_COOL_DOWN_NS,
    MAX_WAITING,
    MAX_WAITING_OF_A_NETWORK,
    SOURCE_COOL_DOWN_NS,
    SignInLimits,
    Wait,
)

S = 1_000_000_000
HERE, OTHER_HOST = "127.0.0.1", "192.0.2.7"


class Account:
    """Limits in virtual time, in which a check takes no time and a pause passes at once."""

    def __init__(self) -> None:
        self.now_ns = 1000 * S
        self.checked: list[str] = []
        self.limits = SignInLimits(lambda: self.now_ns, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        await asyncio.sleep(0)

    async def tries(self, source: str, *, right: bool = False) -> bool | Wait:
        async def check() -> bool:
            await asyncio.sleep(0)
            self.checked.append(source)
            return right

        return await self.limits.attempt(source, check)


def local_addresses() -> Any:
    return (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(256), range(256), range(2, 255)))


def test_wrong_passwords_double_the_wait_up_to_a_limit_in_bounded_memory() -> None:
    failures = AttemptLimiter(SOURCE_COOL_DOWN_NS, MAX_SOURCE_COOL_DOWN_NS)
    waits = []
    now = 0
    for _ in range(12):
        failures.failed("10.0.0.1", now)
        waits.append(failures.wait_ns("10.0.0.1", now))
        now += waits[-1]
    assert waits == [n * S for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300)]
    assert max(waits) == MAX_SOURCE_COOL_DOWN_NS
    failures.failed("10.0.0.1", now)
    assert failures.wait_ns("10.0.0.2", now) == 0, "nobody waits for another's wrong password"
    failures.succeeded("10.0.0.1")
    assert failures.wait_ns("10.0.0.1", now) == 0
    for n in range(10_000):
        failures.failed(f"2001:db8:0:{n:x}::1", now)
    assert len(failures) == MAX_SOURCES
    failures.failed("2001:db8:1::1", now)
    assert failures.wait_ns("2001:db8:1::2", now + S // 4) == 3 * S // 4, (
        "an IPv6 network of 2^64 addresses counts as one"
    )
    assert failures.wait_ns("::ffff:10.0.0.9", now) == 0
    failures.failed("::ffff:10.0.0.9", now)
    assert failures.wait_ns("10.0.0.9", now) == S, "a mapped address is the IPv4 address"


@pytest.mark.parametrize("source", [HERE, "::1", OTHER_HOST, "2001:db8::1"])
def test_a_right_password_is_taken_while_thousands_of_other_addresses_guess(source: str) -> None:
    async def scenario() -> None:
        account = Account()
        addresses = local_addresses()
        flood = [asyncio.create_task(account.tries(next(addresses))) for _ in range(1000)]
        began_ns = account.now_ns
        honest = asyncio.create_task(account.tries(source, right=True))
        while not honest.done():
            flood += [asyncio.create_task(account.tries(next(addresses))) for _ in range(100)]
            await asyncio.sleep(0)
        assert honest.result() is True
        assert account.now_ns - began_ns <= LONGEST_LINE_S * S
        answers = await asyncio.gather(*flood)
        assert Wait(1, "too many attempts from other addresses") in answers

    asyncio.run(scenario())


def test_all_strangers_together_guess_twice_a_second_however_many_addresses_they_have() -> None:
    async def scenario() -> None:
        account = Account()
        began_ns = account.now_ns
        addresses = local_addresses()
        for _ in range(400):
            await asyncio.gather(*(account.tries(next(addresses)) for _ in range(MAX_WAITING)))
        took_s = (account.now_ns - began_ns) / S
        assert len(account.checked) > 100
        assert len(account.checked) <= took_s / GUESS_PAUSE_S + 1

    asyncio.run(scenario())


def test_who_has_signed_in_before_does_not_stand_in_line() -> None:
    async def scenario() -> None:
        account = Account()
        held = asyncio.Event()

        async def never() -> bool:
            await held.wait()
            return False

        account.limits.signed_in(HERE)
        strangers = [asyncio.create_task(account.limits.attempt(f"127.0.1.{n}", never)) for n in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await account.tries(HERE, right=True) is True
        held.set()
        await asyncio.gather(*strangers)

    asyncio.run(scenario())


def test_a_friend_that_guesses_wrong_waits_like_anybody() -> None:
    async def scenario() -> None:
        account = Account()
        account.limits.signed_in(HERE)
        assert await account.tries(HERE) is False
        assert await account.tries(HERE, right=True) == Wait(1, "too many attempts from this address")
        account.now_ns += S - 1
        assert await account.tries(HERE, right=True) == Wait(1, "too many attempts from this address"), (
            "a part of a second is a second more to wait, never none"
        )
        account.now_ns += 1
        assert await account.tries(HERE, right=True) is True

    asyncio.run(scenario())


def test_a_source_has_one_password_checked_at_a_time() -> None:
    async def scenario() -> None:
        account = Account()
        account.limits.signed_in(HERE)
        for source in (HERE, OTHER_HOST):
            both = await asyncio.gather(account.tries(source, right=True), account.tries(source, right=True))
            assert both == [True, Wait(1, "too many attempts at once from this address")]
            assert await account.tries(source, right=True) is True

    asyncio.run(scenario())


def test_the_line_and_what_is_remembered_are_bounded() -> None:
    async def scenario() -> None:
        account = Account()
        held = asyncio.Event()

        async def never() -> bool:
            await held.wait()
            return False

        def come(network: int) -> list[asyncio.Task[bool | Wait]]:
            return [
                asyncio.create_task(account.limits.attempt(f"10.0.{network}.{n}", never)) for n in range(20)
            ]

        tasks = come(0)
        await asyncio.sleep(0)
        assert sum(not task.done() for task in tasks) == MAX_WAITING_OF_A_NETWORK
        tasks += [task for network in range(1, 40) for task in come(network)]
        await asyncio.sleep(0)
        assert sum(not task.done() for task in tasks) == MAX_WAITING
        held.set()
        await asyncio.gather(*tasks)
        assert not account.limits._waiting
        assert not account.limits._trying
        for n in range(1000):
            account.limits.signed_in(f"10.1.{n // 250}.{n % 250}")
        assert len(account.limits._friends) == MAX_FRIENDS

    asyncio.run(scenario())


def test_a_check_that_breaks_off_leaves_its_place() -> None:
    async def scenario() -> None:
        account = Account()

        async def breaks() -> bool:
            raise OSError("no memory")

        for n in range(2 * MAX_WAITING):
            with pytest.raises(OSError, match="no memory"):
                await account.limits.attempt(f"10.0.0.{n}", breaks)
        assert await account.tries("10.0.0.99", right=True) is True

    asyncio.run(scenario())


class Guessers:
    """Programs of this machine that guess from one address after another, until told to end."""

    def __init__(self, url: str, headers: Any) -> None:
        self.answers: list[int] = []
        self._url, self._headers = url, dict(headers)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._guess, args=(n,)) for n in range(6)]

    def __enter__(self) -> Guessers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _guess(self, number: int) -> None:
        for address in (f"127.0.{number}.{n}" for n in itertools.cycle(range(2, 250))):
            if self._over.is_set():
                return
            # Plain HTTP: to load the authorities of TLS took a guess ten times what the host did with it.
            transport = httpx.HTTPTransport(verify=False, local_address=address)
            with httpx.Client(base_url=self._url, transport=transport, timeout=30) as client:
                client.headers.update(self._headers)
                answer = client.post("/console/login", json={"password": "wrong horse"})
                self.answers.append(answer.status_code)


def test_guesses_from_many_local_addresses_lock_neither_password_nor_ticket_out(
    managed: Callable[..., Any],
) -> None:
    host = managed("host")
    browser = host.browser()
    assert browser.post("/console/password", json={"new": "correct horse"}).status_code == 204
    host.end()
    # What is limited is the number of guesses: at 64 MiB each, they were a tenth of the CPU of all these tests.
    kept = host.state_dir / PASSWORD_FILE
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"password_hash": cheap}))
    # Started anew it knows nobody that signed in before.
    host = managed("host")
    page = host.page()
    page.timeout = 60
    with Guessers(host.url, page.headers) as guessers:
        while len(guessers.answers) < 20:
            assert page.get("/console/me").status_code == 200
        for _ in range(3):
            assert page.post("/console/login", json={"password": "correct horse"}).status_code == 204
        # Each wrong one makes the next wait longer, so however slow this machine is, one of them comes too early.
        waiting = refused = page.post("/console/login", json={"password": "wrong horse"})
        assert refused.status_code == 401
        while waiting.status_code == 401:
            waiting = page.post("/console/login", json={"password": "wrong horse"})
        assert waiting.status_code == 429
        assert "punktfunk console" in waiting.json()["error"], "it says how to get in"
        ticket = host.program().post("/console/ticket").json()["ticket"]
        assert page.post("/console/login", json={"ticket": ticket}).status_code == 204
    assert set(guessers.answers) <= {401, 429}
    assert 429 in guessers.answers
