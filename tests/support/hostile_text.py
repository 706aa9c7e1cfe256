"""Texts that act on a terminal, what is left of them in an output, and a terminal to run a program on."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
ATTACK = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\x00\x7f\u202egnp\u2066\u2069\u200b\ufeff\u2028\u2029\u3164"
"""ESC, BEL, CR, C0, C1, bidirectional controls and isolates, zero-width characters, separators, a filler."""
LONG = ATTACK + "A" * 65536
REASON = (ATTACK + "A" * 1400).encode()[:1400].decode(errors="ignore")
"""As much of it as one UDP datagram takes that our ends take."""
SHORT = "\x1b[2J\x07\r\x9b\u202e\u2066\u200b\u2028"
"""As much of it as fits the 64 bytes of a name."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def harm(text: str) -> str:
    """Return the first line with something in it that a terminal obeys or nobody sees, "" when there is none."""
    for line in text.replace("\r\n", "\n").split("\n"):
        if not all(c.isprintable() and c != "\u3164" for c in _COLOURS.sub("", line).replace("\u202f", " ")):
            return ascii(line)
    return ""


class Terminal:
    """A program on a pseudo-terminal: everything that it writes, standard error included."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        self.arguments, self.home = arguments, home
        self.text = ""

    async def run(self) -> int:
        """Run the program to its end."""
        async with self:
            return await asyncio.wait_for(self.process.wait(), 60)

    async def until(self, words: str) -> re.Match[str]:
        """Wait until the program has written what matches these words, and return it."""
        async with asyncio.timeout(60):
            while (found := re.search(words, self.text)) is None:
                await self._more.wait()
                self._more.clear()
        return found

    async def __aenter__(self) -> Terminal:
        self._ours, theirs = pty.openpty()
        self._more = asyncio.Event()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "punktfunk",
            *self.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "XDG_CONFIG_HOME": str(self.home),
                "COLUMNS": "500",
            },
        )
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 30)
        while self._read():
            pass
        os.close(self._ours)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # nobody has the other end any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._ours)
            return False
        self.text += data.decode(errors="replace")
        self._more.set()
        return True


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 100))
