"""The host: what it serves, who streams, settings and pairing put together; stream workers in :mod:`.stream`.

Not here: rules of a wire (``native``), HTTP (``mgmt``), a compositor's protocols (``desktop``).

``Host`` and ``HostConfig`` are loaded when first asked for, so that a stream worker, which lives in this
package too, does not import the QUIC stack.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from punktfunk.host.config import HostConfig as HostConfig
    from punktfunk.host.service import Host as Host

_LAZY = {"Host": "punktfunk.host.service", "HostConfig": "punktfunk.host.config"}
__all__ = ["Host", "HostConfig"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
