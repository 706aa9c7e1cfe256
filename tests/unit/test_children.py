"""What is left below a session is found and ended, whatever it calls itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LEAVES_ONE: str = r"""
import os, subprocess, sys
from punktfunk.desktop.children import Children
from punktfunk.desktop.containment import Containment
left = subprocess.Popen(
    [sys.argv[1].encode() + b"/sl\xffeep) Z 1", "60"],
    start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
try:
    Children(Containment.DESCENT).end_rest(30)
    os.kill(left.pid, 0)
except ProcessLookupError:
    print("gone")
finally:
    left.kill()
"""


def test_a_program_whose_name_is_no_text_is_ended_like_any_other(tmp_path: Path) -> None:
    """The kernel cuts names after 15 bytes, in the middle of a letter too: it takes no hostile program."""
    # As a process, it has the name of the link.
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/sl\xffeep) Z 1"))).symlink_to("/bin/sleep")
    done = subprocess.run(
        [sys.executable, "-c", _LEAVES_ONE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("gone\n", "")


_MAY_NOT: str = r"""
import os
from punktfunk.desktop.children import Children
from punktfunk.desktop.containment import Containment
children = Children(Containment.NAMESPACE)
roots = children.start("roots", ["sleep", "60"], os.environ)
os.setresuid(65534, 65534, 0)
try:
    children.end([roots], 0.01)
    children.end_rest(0.01)
    print(roots.status)
finally:
    os.setresuid(0, 0, 0)
    children.end([roots], 30)
"""


@pytest.mark.root
def test_a_program_that_runs_as_another_user_does_not_end_who_would_end_it() -> None:
    """As under ``sudo``: a supervisor that failed here would take the desktop along, which others stream."""
    done = subprocess.run(
        [sys.executable, "-c", _MAY_NOT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
