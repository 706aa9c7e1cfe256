"""GNOME, or Mutter alone: streamed by the D-Bus interfaces that GNOME's own remote desktop uses, without a dialog.

Not here: the portal, which GNOME offers too and asks its user for (``portal``), and how a node's pictures are taken
(``pipewire``).
"""

from __future__ import annotations

from punktfunk.desktop.mutter.desktop import MutterDesktop
from punktfunk.desktop.mutter.reach import examine

__all__ = ["MutterDesktop", "examine"]
