"""The how-to of a program as a peer, followed to the letter: its description, its command, the page it promises."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.results import CaseResult, Status
from harness.analysis.runs import load
from tests.support.proven import once_proven

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "add-a-peer.md"
PROGRAM = f"""\
#!{sys.executable}
import os, sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
os.execv({sys.executable!r}, [
    {sys.executable!r}, "-m", "punktfunk", "connect", given["host"], "--mode", given["size"] + "@" + given["fps"],
    "--pin", given["trust"], "--out", given["save"], "--overwrite", "--no-decode",
])
"""
"""What the how-to calls ``my-client``: a program with options of its own."""


def block(language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def followed(place: Path) -> tuple[subprocess.CompletedProcess[str], Path, CaseResult]:
    """Do in a folder what the how-to says; return the command's process, the folder of its run and its one case."""
    (place / "my-client").write_text(PROGRAM, encoding="utf-8")
    (place / "my-client").chmod(0o755)
    (place / "my-client.yaml").write_text(block("yaml"), encoding="utf-8")
    shutil.copytree(ROOT / "scenarios", place / "scenarios")
    command = shlex.split(block("sh"))
    assert command[0] == "python"
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=place,
        env={**os.environ, "PATH": path, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    [folder] = (place / "reports").iterdir()
    [case] = load(folder)[0].cases
    return done, folder, case


def test_the_how_to_leads_to_a_matrix_of_its_program(tmp_path: Path) -> None:
    done, folder, case = once_proven(followed, lambda found: found[2].reason, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert case.status is Status.PASSED, case.reason
    assert case.id == "interop.handshake.host=ours,client=my-client"
    assert case.peers["client"].program == "my client 1.2"
    assert case.outside["evidence"] == [
        "packets",
        "pictures",
        "its own statistics",
        "records of our host",
        "frames and FEC on the wire",
    ]
    assert case.metrics["wire_frames_whole"].value == case.outside["pictures"]["read"]
    assert case.outside["pictures"]["read"] == case.outside["told"]["client"]["frames"] > 0
    assert not list(folder.rglob("keys.log")), "a run's folder can be given away"
    page = (folder / "interop.html").read_text(encoding="utf-8")
    assert "✓ handshake" in page
    for file in re.findall(r'href="(interop\.[^"#]+)"', page):
        assert (folder / file.replace("%3D", "=").replace("%2C", ",")).exists()
