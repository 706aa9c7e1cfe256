"""A host keeps its machine awake with the first stream and no longer with the last, and tells of a lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("dbus_fast")

import punktfunk
from punktfunk.host import awake as awake_module
from punktfunk.host.awake import LOCKED, Awake
from punktfunk.log_ring import LogRing
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


def test_whoever_held_the_session_awake_is_asked_again_once_they_or_the_bus_are_back(
    tmp_path: Path, need_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch, ring: LogRing
) -> None:
    need_tool("dbus-daemon")
    monkeypatch.setattr(awake_module, "AGAIN_S", 0.0)
    address = f"unix:path={tmp_path / 'bus'}"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    report = SimpleNamespace(notices={})
    sessions = SimpleNamespace(
        workers=lambda: [report], live=lambda: [report], on_change=lambda _report: None
    )
    again = "idle and sleep held off again"

    def said(event: str) -> int:
        return sum(entry.event == event for entry in ring.entries())

    async def scenario() -> None:
        threads = set(threading.enumerate())
        awake = Awake(cast("Any", sessions), running_session=True, wanted=lambda: True)

        async def comes(holds: Callable[[], object], what: str) -> None:
            def looked() -> object:
                awake.update()  # as a stream has it called each second
                return holds()

            await soon(looked, what)

        with session_bus(tmp_path):
            with services(address, SAVER) as desktop:
                await comes(lambda: desktop.held, "the session is held awake")
                await comes(lambda: desktop.lock(True) or report.notices, "its lock is told")
            await comes(lambda: said(awake_module._MAY_GO_IDLE), "it is told that nobody holds it any more")
            with services(address, SAVER) as desktop:
                await comes(lambda: desktop.held, "the saver that was started again is asked again")
                await comes(lambda: said(again) == 1, "before it ends once more")
                await comes(lambda: not report.notices, "which is not locked")
        with session_bus(tmp_path), services(address, SAVER) as desktop:
            await comes(lambda: desktop.held, "another bus is asked")
            await comes(lambda: desktop.lock(True) or report.notices, "its lock is told")
            desktop.lock(False)
            await comes(lambda: not report.notices, "and that it is open again")
            await awake.close()
        await soon(
            lambda: (
                not [each for each in set(threading.enumerate()) - threads if each.name.startswith("bus")]
            ),
            "every connection to be closed",
        )
        assert said(again) == 2
        assert said(awake_module._MAY_GO_IDLE) <= 2, "once a loss"

    asyncio.run(asyncio.wait_for(scenario(), 60))
