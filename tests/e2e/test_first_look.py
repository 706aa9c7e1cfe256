"""The API is loaded for its first client: what a host is without one, and what that client gets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from punktfunk.host.config import HostConfig
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.media import SyntheticSpec
from punktfunk.mgmt import server as server_module
from punktfunk.mgmt.server import ManagementServer
from punktfunk.mgmt.token import URL_FILE
from tests.support.waiting import PATIENCE_S, eventually, soon

REPOSITORY = Path(__file__).parents[2]
ASKED = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

LOOKED_AT = """
import asyncio, json, pathlib, sys
from tests.e2e.test_first_look import answer, served

SERVERS = {"fastapi", "starlette", "uvicorn", "h11", "prometheus_client"}

async def main():
    async with served(pathlib.Path(sys.argv[1])) as serving:
        before = sorted(SERVERS & sys.modules.keys())
        first = await asyncio.gather(*(answer(serving.management) for _ in range(5)))
        then, later = sorted(SERVERS - sys.modules.keys()), await answer(serving.management)
        print(json.dumps([before, then, sorted(set(first)), later]))

asyncio.run(main())
"""


def served(folder: Path) -> Serving:
    """Return a host of which only the API is served."""
    host = HostConfig(state_dir=folder, source=SyntheticSpec())
    return Serving(
        ServeConfig(host=host, native=False, gamestream=False, announce=False, mgmt_bind="127.0.0.1:0")
    )


async def answer(management: ManagementServer) -> str:
    """Ask, and return the first line of the answer; "" from who closes the connection without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", management.port)
    writer.write(ASKED)
    try:
        said = await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionError:
        said = b""
    writer.close()
    return said.partition(b"\r\n")[0].decode()


def test_the_api_is_loaded_when_somebody_comes_and_all_who_waited_are_answered(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_AT, str(tmp_path / "host")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], ["HTTP/1.1 200 OK"], "HTTP/1.1 200 OK"]


def test_a_host_that_ends_while_the_api_is_loaded_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[ManagementServer] = []

    def slow() -> None:
        eventually(lambda: begun and begun[0].closing.is_set(), "the host ends")

    monkeypatch.setattr(server_module, "_load", slow)

    async def both() -> None:
        async with served(tmp_path / "host") as serving:
            management = serving.management
            assert management is not None
            begun.append(management)
            asking = asyncio.ensure_future(answer(management))
            await soon(lambda: management._opening is not None, "the first client is seen")
        assert await asking in {"HTTP/1.1 200 OK", ""}, "answered in the last moment, or cut off"
        assert not (tmp_path / "host" / URL_FILE).exists()
        with pytest.raises(ConnectionRefusedError):
            await answer(management)

    asyncio.run(asyncio.wait_for(both(), PATIENCE_S))


def test_where_it_cannot_be_loaded_clients_are_refused_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> None:
        raise ImportError("no module of that name")

    monkeypatch.setattr(server_module, "_load", damaged)

    async def both() -> None:
        async with served(tmp_path / "host") as serving:
            management = serving.management
            assert management is not None
            assert (tmp_path / "host" / URL_FILE).exists()
            assert await answer(management) == ""
            with pytest.raises(ConnectionRefusedError):
                await answer(management)
            assert not (tmp_path / "host" / URL_FILE).exists()
            [entry] = [entry for entry in serving.log.entries() if entry.level == "error"]
            assert entry.fields["cause"] == "no module of that name"

    asyncio.run(asyncio.wait_for(both(), PATIENCE_S))
