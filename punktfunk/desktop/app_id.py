"""The name by which desktops know this program: portals and KWin keep what is granted to it under that name.

A program outside a sandbox may give itself any name that a ``.desktop`` file has; without the file it has none.
"""

from __future__ import annotations

from typing import Final

APP_ID: Final = "io.github.punktfunk.Host"
"""Also the name of its ``.desktop`` file, without the ending."""
