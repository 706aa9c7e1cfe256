"""A lock that is told over and over: a host looks at what holds now, and no more often than it has the time for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from punktfunk.host.awake import Awake


class Sessions:
    """Nobody streams; counts how often that is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def live(self) -> list[Any]:
        self.asked += 1
        return []


def test_a_flood_of_locks_is_looked_at_once_by_a_host_that_is_busy() -> None:
    async def scenario() -> None:
        sessions = Sessions()
        awake = Awake(cast("Any", sessions), running_session=True, wanted=lambda: False)

        def flood(last: bool) -> None:
            for number in range(1000):
                awake._told(number % 2 == 0)
            awake._told(last)

        for last, asked in ((True, 1), (True, 1), (False, 2)):
            teller = threading.Thread(target=flood, args=[last])
            teller.start()
            teller.join()  # and the loop does nothing meanwhile
            await asyncio.sleep(0)
            assert (awake._locked, sessions.asked) == (last, asked)
        awake._closed = True
        awake._work.shutdown()

    asyncio.run(scenario())
