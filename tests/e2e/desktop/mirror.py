"""A program for a terminal: asks for mouse reports, writes every byte that is typed to a file. ``mirror.py FILE``."""

from __future__ import annotations

import os
import sys
import tty
from pathlib import Path


def main() -> None:
    tty.setraw(0)
    os.write(1, b"\x1b[?1003h\x1b[?1006h")  # every motion, in the extended form
    with Path(sys.argv[1]).open("wb", buffering=0) as file:
        file.write(b"ready ")
        while typed := os.read(0, 4096):
            file.write(typed)


if __name__ == "__main__":
    main()
