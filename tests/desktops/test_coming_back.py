"""A compositor or PipeWire that dies and is started again: the same stream goes on, and all are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.desktops.support.desktops import KINDS, streamed_desktop
from tests.desktops.support.streaming import ClientProcess, serving
from tests.support.waiting import eventually

WITH_A_COMPOSITOR = [name for name, kind in KINDS.items() if kind.compositor is not None and not kind.asks]
"""Not where a person is asked: a new compositor's portal asks again, and this person has gone for a walk."""
BY_PIPEWIRE = [name for name in WITH_A_COMPOSITOR if name not in ("sway", "labwc")]
"""Those whose pictures come by it."""


@pytest.mark.parametrize("name", WITH_A_COMPOSITOR)
def test_a_stream_goes_on_once_its_compositor_is_there_again(name: str, tmp_path: Path) -> None:
    with (
        streamed_desktop(name, tmp_path) as desktop,
        serving(desktop, tmp_path / "host") as host,
        ClientProcess(host, tmp_path / "client") as client,
    ):
        client.receives(5)
        desktop.crash()
        eventually(lambda: client.ended or "desktop back" in host.log, "the desktop to be back")
        client.receives(5)
        assert host.log.index("desktop lost") < host.log.index("desktop back")


@pytest.mark.parametrize("name", BY_PIPEWIRE)
def test_a_stream_goes_on_once_pipewire_is_there_again(name: str, tmp_path: Path) -> None:
    with (
        streamed_desktop(name, tmp_path) as desktop,
        serving(desktop, tmp_path / "host") as host,
        ClientProcess(host, tmp_path / "client") as client,
    ):
        client.receives(5)
        desktop.session.pipewire.kill()
        desktop.session.restart_pipewire()
        eventually(lambda: client.ended or "desktop back" in host.log, "the desktop to be back")
        client.receives(5)
