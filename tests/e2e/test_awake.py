"""A host keeps its machine awake with the first stream and no longer with the last, and tells of a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

import punktfunk
from punktfunk.host.awake import LOCKED, Awake
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.dbus import session_bus
from tests.support.desktop_services import LOGIND, SAVER, services
from tests.support.managed_host import ManagedHost
from tests.support.waiting import soon

CLIENT = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)


@pytest.fixture
def bus(tmp_path: Path, need_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bus that is the session's and the system's."""
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as (address, _):
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address


def test_a_running_session_is_held_awake_while_it_is_streamed_and_its_lock_is_told(bus: str) -> None:
    config = punktfunk.HostConfig(
        trust=OpenTrust.LOOPBACK, port=0, source=SyntheticSpec(frame_bytes=4000), mode=Mode(640, 480, 30)
    )

    async def scenario() -> None:
        with services(bus, SAVER, LOGIND) as desktop:
            async with punktfunk.Host(config) as host:
                awake = Awake(host.sessions, running_session=True, wanted=lambda: True)
                host.sessions.on_change = lambda _report: awake.update()
                assert not desktop.held
                async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT):
                    await soon(lambda: desktop.held and desktop.descriptors_held, "it is held awake")
                    assert len(desktop.held) == 1
                    [report] = host.live()
                    await soon(lambda: awake._watch, "its lock is watched")
                    desktop.lock(True)
                    await soon(lambda: list(report.notices.values()) == [LOCKED], "the lock is told")
                    async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT):
                        await soon(lambda: len(host.live()) == 2, "another one streams")
                        other = host.live()[1]
                        await soon(lambda: "lock" in other.notices, "who comes later is told as well")
                    assert desktop.held, "one still streams"
                    desktop.lock(False)
                    await soon(lambda: not report.notices, "and that it is open again")
                await soon(lambda: not desktop.held, "the last has gone")
                await soon(lambda: not desktop.descriptors_held, "logind too")
                await awake.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_the_setting_takes_effect_at_once_and_no_session_of_ours_is_asked(bus: str, tmp_path: Path) -> None:
    host = ManagedHost(tmp_path / "host", host={"trust": OpenTrust.LOOPBACK})
    try:

        async def scenario() -> None:
            with services(bus, SAVER, LOGIND) as desktop:
                port = host.serving.host.port
                async with punktfunk.Client(f"127.0.0.1:{port}", CLIENT):
                    await soon(lambda: desktop.descriptors_held, "the machine does not sleep")
                    for value, count in ((False, 0), (True, 1)):
                        changed = asyncio.run_coroutine_threadsafe(
                            host.serving.change_settings({"inhibit": value}), host.loop
                        )
                        await asyncio.wrap_future(changed)
                        await soon(lambda count=count: desktop.descriptors_held == count, f"{value}")
                    assert not desktop.held, "synthetic frames are no session of a user"
                await soon(lambda: not desktop.descriptors_held, "it may sleep again")

        asyncio.run(asyncio.wait_for(scenario(), 60))
    finally:
        host.end()
