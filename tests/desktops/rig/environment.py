"""The Python environment inside a root: locked dependencies, and the project's wheel as a user installs it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from punktfunk.errors import HarnessError
from punktfunk.terminal import say
from tests.desktops.rig.enter import run_in
from tests.support.wheel import ROOT, built_wheel

_TESTING: Final = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "pyroute2")
"""Beside the project's own: what runs the tests, and what the harness needs to start a host."""
_CERTIFICATES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_SYSTEMS_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_PIP: Final = ("/venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def prepare(
    root: Path, folder: Path, *, extras: Sequence[str] = ("desktop",), beside: Sequence[str] = _TESTING
) -> Path:
    """Return an environment for that root, this clone's own, with the wheel of this state of the clone.

    ``extras`` are those of the wheel, ``beside`` what is installed beside it. Raises HarnessError when it cannot be
    made.
    """
    venv, out = folder / "venv", folder / "wheel"
    dependencies, installed = folder / "dependencies", folder / "installed"
    out.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [each for extra in extras for each in project["optional-dependencies"][extra]]
    wanted = [*project["dependencies"], *optional, *beside]
    constraints = (ROOT / ".ci" / "constraints.txt").read_bytes()
    state = hashlib.sha256(f"{root.name} {root.stat().st_ino} {wanted}".encode() + constraints).hexdigest()
    if not _is(dependencies, state):
        say("desktops: installing the locked dependencies (half a minute, once)")
        for stamp in (dependencies, installed):
            stamp.unlink(missing_ok=True)
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir()
        fetching(root, ["python3", "-m", "venv", "/venv"], venv, out)
        fetching(root, [*_PIP, "-c", "/src/.ci/constraints.txt", *wanted], venv, out)
        dependencies.write_text(state)
    wheel = built_wheel()
    if not _is(installed, wheel.parent.name):
        installed.unlink(missing_ok=True)
        shutil.copy(wheel, out)
        fetching(root, [*_PIP, "--no-deps", "--force-reinstall", f"/out/{wheel.name}"], venv, out)
        installed.write_text(wheel.parent.name)
    return venv


def fetching(root: Path, command: Sequence[str], venv: Path, out: Path) -> None:
    """Run a command in a root with the machine's network, package index and authorities; /venv may be written to.

    Raises HarnessError when it fails.
    """
    env = {
        name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
    }
    if (bundle := _bundle()) is not None:
        # Networks with a certificate authority of their own: pip takes one of these, by its version.
        env |= {"CA_BUNDLE": bundle, **dict.fromkeys(_CERTIFICATES, "/run/net/ca.crt")}
    env["PIP_ROOT_USER_ACTION"] = "ignore"
    status = run_in(root, command, venv=venv, out=out, env=env, network=True)
    if status:
        raise HarnessError(
            f"{' '.join(command[:4])} ended with {status} in the root", "is there a network for pip here?"
        )


def _bundle() -> str | None:
    """Return whom this machine trusts: as its environment says, or else its system; None where neither does."""
    named = [os.environ.get(name, "") for name in _CERTIFICATES]
    return next((each for each in [*named, _SYSTEMS_CERTIFICATES] if Path(each).is_file()), None)


def _is(stamp: Path, state: str) -> bool:
    return stamp.is_file() and stamp.read_text() == state
