"""A host with its management API, run in a thread of the tests' own process, and ways to speak to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from punktfunk.host.config import HostConfig
from punktfunk.host.protocol_server import ProtocolFactory
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.media import SyntheticSpec
from punktfunk.units import Mode
from tests.support.gamestream import free_ports
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")


class ManagedHost:
    """``punktfunk serve`` without its process: on loopback, with free ports and synthetic frames.

    Without GameStream, unless it is asked for: that costs a tenth of a second and six ports.
    """

    def __init__(self, folder: Path, *, protocols: Iterable[ProtocolFactory] = (), **fields: Any) -> None:
        self.state_dir = folder
        synthetic = {"source": SyntheticSpec(frame_bytes=4000), "mode": Mode(1280, 720, 60), "port": 0}
        host = HostConfig(state_dir=folder, **{**synthetic, **fields.pop("host", {})})
        options = {
            "announce": False,
            "mgmt_bind": "127.0.0.1:0",
            "gamestream": False,
            "gamestream_port": free_ports().base,
            **fields,
        }
        self.serving = Serving(ServeConfig(host=host, **options), protocols)
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the host has not begun"
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to who started it
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self.serving:
            self._ready.set()
            await self._stop.wait()

    def call(self, function: Callable[[], T]) -> T:
        """Call something in the host's event loop, to which all of it belongs."""

        async def there() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(PATIENCE_S)

    def end(self) -> None:
        """End it in order."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the host has not ended"

    @property
    def url(self) -> str:
        assert self.serving.management is not None
        return self.serving.management.url

    @property
    def port(self) -> int:
        assert self.serving.management is not None
        return self.serving.management.port

    @property
    def native_address(self) -> str:
        return f"127.0.0.1:{self.serving.host.port}"

    @property
    def token(self) -> str:
        return (self.state_dir / "mgmt-token").read_text().strip()

    def stranger(self) -> httpx.Client:
        """Somebody without credentials."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False, verify=False)

    def program(self) -> httpx.Client:
        """A program that has the token."""
        client = self.stranger()
        client.headers["Authorization"] = f"Bearer {self.token}"
        return client

    def page(self) -> httpx.Client:
        """A script of the console's own page, not signed in: it has the headers that prove where it is from."""
        client = self.stranger()
        client.headers.update(
            {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "X-Punktfunk-Console": "1"}
        )
        return client

    def browser(self) -> httpx.Client:
        """The console's own page, signed in by a one-time link."""
        management = self.serving.management
        assert management is not None
        ticket = self.call(management.console_link).partition("#ticket=")[2]
        client = self.page()
        answer = client.post("/console/login", json={"ticket": ticket})
        assert answer.status_code == 204, answer.text
        return client
