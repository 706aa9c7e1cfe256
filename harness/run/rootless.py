"""Run a live case without root: in a user namespace, where this user is the root of namespaces of his own.

The case runs in a child process started by ``unshare`` (util-linux): a user namespace can only be entered by a
process of one thread, which the runner is not. TUNs and veths, the pump and both peers live and end with it.
What stays out of reach is real-time priority, so figures of delay are a little rougher.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.results import CaseResult
from harness.network import userns
from harness.network.registry import FOLDER_VARIABLE, registry_folder
from punktfunk.errors import HarnessError, PrivilegeError, PunktfunkError

if TYPE_CHECKING:
    from harness.run.context import RunContext
    from harness.scenario.expand import Case
    from harness.scenario.link import Backend


def run(case: Case, folder: Path, context: RunContext, backend: Backend) -> CaseResult:
    """Run a case in a user namespace of its own; raises what it raises there.

    Raises :class:`PrivilegeError` where the kernel does not give out user namespaces.
    """
    why = userns.refusal()
    if why:
        raise PrivilegeError(
            f"live links need root or a user namespace, and neither is available: {why}",
            "run as root, or as root once: sysctl kernel.unprivileged_userns_clone=1",
        )
    order, answer = folder / "rootless.order", folder / "rootless.json"
    order.write_bytes(pickle.dumps((case, folder, context, backend)))
    try:
        done = subprocess.run(
            [*userns.UNSHARE, sys.executable, "-m", "harness.run.rootless", str(order), str(answer)],
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, FOLDER_VARIABLE: str(registry_folder())},
        )
        if not answer.is_file():
            words = " ".join(done.stderr.split())[-400:]
            raise HarnessError(
                f"the case's process in the user namespace ended with {done.returncode}: {words}"
            )
        said = json.loads(answer.read_text(encoding="utf-8"))
    finally:
        order.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)
    if "error" in said:
        raise _error(said["error"])
    return CaseResult.model_validate(said["result"])


def _error(said: dict[str, Any]) -> PunktfunkError:
    kinds = {kind.code: kind for kind in _tree(PunktfunkError)}
    return kinds.get(said["code"], HarnessError)(said["cause"], said["hint"])


def _tree(kind: type[PunktfunkError]) -> Iterator[type[PunktfunkError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def main() -> int:
    """Run the case that is named on the command line and leave its result, or its error, as JSON."""
    from harness.run import live

    order, answer = (Path(name) for name in sys.argv[1:3])
    # The order was written by the process that started this one, into a folder of the same user.
    case, folder, context, backend = pickle.loads(order.read_bytes())  # noqa: S301 - see above
    said: dict[str, Any]
    try:
        said = {"result": live.run(case, folder, context, backend).model_dump(mode="json")}
    except PunktfunkError as error:
        said = {"error": {"code": error.code, "cause": error.cause, "hint": error.hint}}
    answer.write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
