"""The reference client: control connection, receive and decode worker, window, path measurement.

Not here: rules of a wire (``native``), decoders (``media``).

``Client`` and ``ClientConfig`` are loaded when first asked for, so that a receive worker, which lives in this
package too, does not import the QUIC stack.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from punktfunk.client.config import ClientConfig as ClientConfig
    from punktfunk.client.service import Client as Client

_LAZY = {"Client": "punktfunk.client.service", "ClientConfig": "punktfunk.client.config"}
__all__ = ["Client", "ClientConfig"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
