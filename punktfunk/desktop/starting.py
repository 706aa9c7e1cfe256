"""Waits until a program that a session has started is of use, or has ended instead."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.children import Child, Children
from punktfunk.errors import DesktopError

_LIMIT_S: Final = 10.0


def await_socket(path: Path, children: Children, child: Child) -> None:
    """Return once somebody listens at ``path``; raise DesktopError where ``child`` ends or takes 10 s instead."""

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    await_sign(listens, children, child, path.parent)


def await_sign(holds: Callable[[], bool], children: Children, child: Child, folder: Path) -> None:
    """Return once ``holds`` is true; raise DesktopError where ``child`` ends or takes 10 s instead.

    ``folder`` is where its log is.
    """
    deadline = monotonic_ns() + round(_LIMIT_S * 1e9)
    while not holds():
        children.reap()
        if child.status is not None:
            raise DesktopError(
                f"{child.name} ended while it started, with status {child.status}", f"see {folder}"
            )
        if monotonic_ns() > deadline:
            raise DesktopError(f"{child.name} did not come up within {_LIMIT_S:g} s", f"see {folder}")
        time.sleep(0.01)
