"""Run the tests of a cluster whose machines are network namespaces: ``nox -s cluster``, arguments of pytest go."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.cluster.conftest import ASKED

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not any(word.startswith("tests/") for word in arguments):
        arguments = ["tests/cluster", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", *arguments],
        env={**os.environ, ASKED: "1"},
        check=False,
    )
    sys.exit(done.returncode)
