"""KWin, the compositor of KDE Plasma: outputs of a client's size by its screencast, input by its EIS server.

Not here: how a PipeWire node becomes pictures (``capture``), and what an EIS server does with events (``inject``).
"""

from punktfunk.desktop.kwin.desktop import KWinDesktop
from punktfunk.desktop.kwin.reach import examine

__all__ = ["KWinDesktop", "examine"]
