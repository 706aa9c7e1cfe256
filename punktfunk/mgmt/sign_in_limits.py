"""How often the console's password may be tried: by source, and in all, without one source locking out another.

A source (an IPv4 address, or the /64 of an IPv6 one) waits after a wrong password, longer each time. For the account as
a whole, passwords of sources that never knew it are checked one after the other with a pause behind each wrong one, and
few may stand in line for it, fewer still from one network. So strangers together guess twice a second, however many
addresses they have, and a right password of another network is checked within :data:`LONGEST_LINE_S`. Sources that
have signed in before do not stand in that line, nor does whoever has a one-time link.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from punktfunk.addresses import parse_address, source_of
from punktfunk.attempts import AttemptLimiter
from punktfunk.clock import monotonic_ns

_S = 1_000_000_000
SOURCE_COOL_DOWN_NS = _S
MAX_SOURCE_COOL_DOWN_NS = 300 * _S
"""After a wrong password its source waits 1 s, doubled for each further failure, 5 minutes at most."""
MAX_FRIENDS = 64
"""Sources remembered to have signed in; the one that did so longest ago is forgotten first."""
GUESS_PAUSE_S = 0.5
"""Between a wrong password of a source that never knew it and the check of the next such source's."""
MAX_WAITING = 8
MAX_WAITING_OF_A_NETWORK = 3
"""Sources that stand in line. Networks are IPv4's /24 and IPv6's /48; 127.0.0.1 and ::1, from where a browser on this
machine comes, are one each, apart from the other 2^24 addresses that any program here may take."""
LONGEST_LINE_S = MAX_WAITING * GUESS_PAUSE_S

_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_THIS_MACHINE = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Wait:
    """Not tried: come again after some seconds."""

    seconds: int
    cause: str


class SignInLimits:
    """Let passwords be checked within the limits of this module. Belongs to one event loop."""

    def __init__(
        self,
        clock: Callable[[], int] = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.failures = AttemptLimiter(SOURCE_COOL_DOWN_NS, MAX_SOURCE_COOL_DOWN_NS)
        self._clock, self._sleep = clock, sleep
        self._friends: OrderedDict[str, None] = OrderedDict()
        self._trying: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._line = asyncio.Lock()
        self._next_ns = 0

    async def attempt(self, source: str, check: Callable[[], Awaitable[bool]]) -> bool | Wait:
        """Return what ``check`` says of a source's password, or how long it has to wait before that is asked."""
        key = source_of(source)
        wait_ns = self.failures.wait_ns(key, self._clock())
        if wait_ns:
            return Wait(-(-wait_ns // _S), "too many attempts from this address")
        if key in self._trying:
            return Wait(1, "too many attempts at once from this address")
        self._trying.add(key)
        try:
            return await (self._judge(key, check) if key in self._friends else self._in_line(key, check))
        finally:
            self._trying.remove(key)

    def signed_in(self, source: str) -> None:
        """Remember a source as one that the host's user signs in from."""
        key = source_of(source)
        self.failures.succeeded(key)
        self._friends.pop(key, None)
        self._friends[key] = None
        while len(self._friends) > MAX_FRIENDS:
            self._friends.popitem(last=False)

    async def _in_line(self, key: str, check: Callable[[], Awaitable[bool]]) -> bool | Wait:
        network = _network_of(key)
        if self._waiting.total() >= MAX_WAITING or self._waiting[network] >= MAX_WAITING_OF_A_NETWORK:
            return Wait(1, "too many attempts from other addresses")
        self._waiting[network] += 1
        try:
            async with self._line:
                pause_s = (self._next_ns - self._clock()) / _S
                if pause_s > 0:
                    await self._sleep(pause_s)
                right = await self._judge(key, check)
                if not right:
                    self._next_ns = self._clock() + round(GUESS_PAUSE_S * _S)
                return right
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]

    async def _judge(self, key: str, check: Callable[[], Awaitable[bool]]) -> bool:
        right = await check()
        if right:
            self.signed_in(key)
        else:
            self.failures.failed(key, self._clock())
        return right


def _network_of(source: str) -> str:
    """Return the network whose sources share a part of the line."""
    if source in _THIS_MACHINE:
        return source
    try:
        parsed = parse_address(source.partition("/")[0])
    except ValueError:
        return source
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 48), strict=False))
    return str(_LOOPBACK if parsed in _LOOPBACK else ipaddress.ip_network((parsed, 24), strict=False))
