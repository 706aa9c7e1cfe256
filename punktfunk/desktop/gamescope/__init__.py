"""gamescope: a session of its own for one program, in the size of the client that streams it.

Not here: how a PipeWire node becomes pictures (``capture``), and what an EIS server does with events (``inject``).
"""

from punktfunk.desktop.gamescope.desktop import GamescopeDesktop
from punktfunk.desktop.gamescope.program import examine

__all__ = ["GamescopeDesktop", "examine"]
