"""Changes of a machine's name are noticed as they happen."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

PROGRAM = """if True:
    import asyncio, json, socket
    from punktfunk.network_watch import NetworkWatch

    async def watch():
        heard = asyncio.Event()
        watching = NetworkWatch(heard.set)
        try:
            await asyncio.wait_for(heard.wait(), 0.5)
            before = True
        except TimeoutError:
            before = False
        names = []
        for name in ("attic", "den"):
            heard.clear()
            socket.sethostname(name)
            await asyncio.wait_for(heard.wait(), 20)
            names.append(socket.gethostname())
        watching.close()
        print(json.dumps([before, names]))

    asyncio.run(watch())
"""


def test_a_machine_that_is_called_otherwise_is_noticed_each_time_and_one_that_is_not_never() -> None:
    done = subprocess.run(
        ["unshare", "--uts", "--net", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert json.loads(done.stdout) == [False, ["attic", "den"]]
