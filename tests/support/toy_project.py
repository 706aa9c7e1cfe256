"""A history of a project as small as can be: the real core, and a harness that has what a driver asks for.

Its ``run_case`` simulates a stream in the core and writes a result of version 2. Starting it takes a tenth of a second,
while the real harness takes one and has to be compiled for every commit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from harness.builds import core
from punktfunk.core import _core
from tests.builds.plants import History, Plant
from tests.support.wheel import ROOT

SCENARIO: Final = """\
name: toy
seed: 3
media: {frames: 60, frame_bytes: 12000 B, key_interval: 0}
stream: {fec: 20 %}
link: {backend: sim, down: {loss: 8 %}}
"""
_PROJECT: Final = """\
[project]
name = "punktfunk"
dependencies = []
[build-system]
requires = ["maturin"]
build-backend = "maturin"
[tool.maturin]
manifest-path = "punktfunk/core/Cargo.toml"
"""
_EXPAND: Final = '''\
"""Cases of a scenario; this harness knows one."""
import types
from pathlib import Path

KNOWN = ("name", "seed", "media", "stream", "link")


class ScenarioError(Exception):
    code = "PF610"


def expand(path, *, seed=None):
    lines = Path(path).read_text().splitlines()
    for line in lines:
        if line and line.partition(":")[0] not in KNOWN:
            raise ScenarioError(f"unknown key {line.partition(':')[0]!r}")
    case = types.SimpleNamespace(id=lines[0].removeprefix("name: "), seed=3 if seed is None else seed)
    return types.SimpleNamespace(cases=[case])
'''
_CASE: Final = '''\
"""Run a case: a stream in virtual time."""
import json
import types

from punktfunk.core import _core

FEC_PERCENT = 20
FRAMES = 60


def run_case(case, folder, context):
    print("this goes to standard error")
    order = {
        "seed": case.seed % 2**53,
        "stream": {"scheme": "gf16", "fec_percent": FEC_PERCENT},
        "link": {"loss": {"kind": "independent", "p": 0.08}},
        "frames": FRAMES,
        "frame_bytes": {"kind": "constant", "bytes": 12000},
        "key_interval": 0,
    }
    found = _core.simulate(json.dumps(order), None)
    frames = json.loads(found.ledger_json)["frames"]
    overhead = {"unit": "fraction", "better": "lower", "value": FEC_PERCENT / 100}
    share = {"unit": "fraction", "better": "higher", "value": frames["intact"] / frames["submitted"]}
    result = {
        "schema_version": 2, "id": case.id, "scenario": "toy", "seed": case.seed, "protocol": "punktfunk/1",
        "backend": "sim", "status": "passed", "digest": found.digest,
        "metrics": {"recovery": share, "fec_overhead": overhead},
    }
    return types.SimpleNamespace(model_dump_json=lambda indent: json.dumps(result, indent=indent))
'''
_FILES: Final = {
    "pyproject.toml": _PROJECT,
    "punktfunk/__init__.py": "",
    "punktfunk/core/__init__.py": "",
    "punktfunk/core/Cargo.toml": "this is no manifest\n",
    "harness/__init__.py": "",
    "harness/run/__init__.py": "",
    "harness/scenario/__init__.py": "",
    "harness/scenario/expand.py": _EXPAND,
    "harness/scenario/link.py": "class Backend(str):\n    pass\n",
    "harness/run/case.py": _CASE,
    "harness/run/context.py": (
        "import dataclasses\n\n\n@dataclasses.dataclass\n"
        "class RunContext:\n    run_id: str\n    backend: object = None\n"
    ),
}

FEWER_SHARDS: Final = Plant(
    "Send less recovery",
    "harness/run/case.py",
    "FEC_PERCENT = 20\n",
    "FEC_PERCENT = 10\n",
    frozenset({"recovery"}),
)
TWICE_THE_WORK: Final = Plant(
    "Stream for longer", "harness/run/case.py", "FRAMES = 60\n", "FRAMES = 120\n", frozenset({"core_cpu"})
)
DOES_NOT_START: Final = Plant(
    "Import what there is not",
    "harness/run/case.py",
    "import types\n",
    "import types\nimport no_such\n",
    frozenset(),
)
ENDS_IN_A_FAULT: Final = Plant(
    "Lose a packet in the books",
    "harness/run/case.py",
    '"status": "passed"',
    '"status": "fault", "reason": "the ledger does not balance"',
    frozenset(),
)
GIVES_UP: Final = Plant(
    "Give up on a case now and then",
    "harness/run/case.py",
    "    print(",
    "    if int(folder.name.rpartition('=')[2]) % 3 == 2:\n"
    "        raise RuntimeError('the handshake took too long')\n"
    "    print(",
    frozenset(),
)
DIES_LATER: Final = Plant(
    "Die of the fifth case",
    "harness/run/case.py",
    "    print(",
    "    import os\n    if len(os.listdir(folder.parent)) > 4:\n        os._exit(7)\n    print(",
    frozenset(),
)
DIES: Final = Plant(
    "Die of a case",
    "harness/run/case.py",
    "    print(",
    "    import os, sys\n    sys.stderr.write('the last words\\n')\n    os._exit(7)\n    print(",
    frozenset(),
)


def toy_history(folder: Path) -> History:
    """Return a repository in a new folder with one commit of the toy."""
    folder.mkdir()
    # What the core raises.
    raised = {
        f"punktfunk/{name}.py": (ROOT / "punktfunk" / f"{name}.py").read_text()
        for name in ("errors", "printable")
    }
    for name, text in {**_FILES, **raised}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    history = History(folder)
    history.git("init", "--quiet", "--initial-branch=main")
    history.commit("Begin")
    return history


def keep_core(cache: Path, sources: Path) -> None:
    """Put this installation's compiled core into a cache, as what these sources make: none is compiled."""
    place = cache / "cores" / core.digest_of(sources, core.compiler())[:32]
    place.mkdir(parents=True)
    shutil.copyfile(_core.__file__, place / core.MODULE)
