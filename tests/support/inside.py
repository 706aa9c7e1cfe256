"""An event loop inside a network namespace: what is awaited there opens its sockets there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from harness.network.namespaces import Namespace
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")


class Inside:
    """A thread with a loop in ``namespace``, until the context ends."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"loop in {namespace.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def run(self, awaited: Coroutine[Any, Any, T]) -> T:
        """Await something in the namespace and return or raise what comes of it."""
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(PATIENCE_S)

    def _run(self) -> None:
        self._namespace.run(self._serve)

    def _serve(self) -> None:
        self._loop.call_soon(self._up.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
