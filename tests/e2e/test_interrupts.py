"""Ctrl-C while programs load: a terminal sends it to everything in the foreground, also to what has just started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from punktfunk.process import interrupts

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

CHILD = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)  # while it still imports
from punktfunk.process import interrupts
interrupts.ignored()
os.kill(os.getpid(), signal.SIGINT)
print("alive")
"""
INTERRUPTED_WHILE_LOADING = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "punktfunk.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from punktfunk.__main__ import main
main()
"""


def run(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_that_is_interrupted_while_it_loads_goes_on_until_it_is_told_to_end() -> None:
    with interrupts.held_back():
        child = run(CHILD)
    told, errors = child.communicate(timeout=20)
    assert (told, errors, child.returncode) == ("alive\n", "", 0)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_the_program_interrupted_while_it_loads_ends_without_a_traceback() -> None:
    child = run(INTERRUPTED_WHILE_LOADING)
    _, errors = child.communicate(timeout=20)
    assert (errors, child.returncode) == ("", -signal.SIGINT)
