"""How fast this machine is at all: the virtual machine of ``harness.vm`` is emulated by software, ten times slower."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "PUNKTFUNK_VM"
"""``1`` in the environment of what runs in that machine."""
EMULATED: Final = os.environ.get(VARIABLE) == "1"
PATIENCE: Final = 5.0 if EMULATED else 1.0
"""Times as long as elsewhere is waited for a program to begin or to end."""
