"""What the programs write to a terminal or a pipe: lines in which nothing from outside acts on it, and JSON."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from punktfunk.printable import printable_lines


def say(text: object, *, err: bool = False, file: TextIO | None = None) -> None:
    """Write a line to standard output, standard error or ``file``, at once; see :mod:`punktfunk.printable`."""
    file = file or (sys.stderr if err else sys.stdout)
    file.write(printable_lines(str(text)) + "\n")
    file.flush()


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Write a value to standard output as JSON, at once; JSON's own escapes keep it ASCII."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=True) + "\n")
    sys.stdout.flush()
