"""Whether a PipeWire server has an object of a kind yet: its registry tells of each as it comes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, get_errno
from pathlib import Path
from typing import Final

from punktfunk.desktop.pipewire import library
from punktfunk.errors import DesktopError

PORT: Final = "PipeWire:Interface:Port"


@contextmanager
def arrival(remote: Path, kind: str) -> Iterator[threading.Event]:
    """Yield an event that is set once the server at the socket ``remote`` has an object of ``kind``.

    Raises CapabilityError without PipeWire's library and DesktopError where no server answers.
    """
    pw = library.load()
    arrived = threading.Event()

    def on_global(_data: int, _number: int, _may: int, name: bytes, _version: int, _properties: int) -> None:
        if name.decode(errors="replace") == kind:
            arrived.set()

    # Both have to live as long as the connection, which calls them.
    events = library.RegistryEvents(version=0, global_=library.OnGlobal(on_global))
    hook = library.Hook()
    loop = pw.pw_thread_loop_new(b"arrival", None)
    context = pw.pw_context_new(pw.pw_thread_loop_get_loop(loop), None, 0) if loop else None
    core = None
    try:
        if context is None or pw.pw_thread_loop_start(loop) < 0:
            raise DesktopError("PipeWire's client cannot be started")
        pw.pw_thread_loop_lock(loop)
        try:
            named = pw.pw_properties_new_string(f"{{ remote.name = {json.dumps(str(remote))} }}".encode())
            core = pw.pw_context_connect(context, named, 0)
            registry = library.get_registry(core) if core else None
            if registry is None:
                raise DesktopError(f"PipeWire does not answer at {remote}: {os.strerror(get_errno())}")
            pw.pw_proxy_add_object_listener(registry, byref(hook), byref(events), None)
        finally:
            pw.pw_thread_loop_unlock(loop)
        yield arrived
    finally:
        if core:
            pw.pw_thread_loop_lock(loop)
            pw.pw_core_disconnect(core)
            pw.pw_thread_loop_unlock(loop)
        if loop:
            pw.pw_thread_loop_stop(loop)
        if context:
            pw.pw_context_destroy(context)
        if loop:
            pw.pw_thread_loop_destroy(loop)
