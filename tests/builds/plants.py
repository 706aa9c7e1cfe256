"""Regressions that are planted into a copy of this history, as the commits that a person would have made.

``python -m tests.builds.plants`` compiles a core with all of them, in seconds: they follow the core's sources or fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Plant:
    """A change of one place of the sources that makes one thing worse."""

    subject: str
    file: str
    old: str
    new: str
    figures: frozenset[str]
    """Any of these has to be named."""

    def apply(self, tree: Path) -> None:
        """Change the file of a tree; the place has to be there, once."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.file} is not what {self.subject!r} was written for"
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


_SEAL: Final = "punktfunk/core/src/crypto.rs"
_SEALING: Final = (
    "        let (text, room) = rest.split_at_mut(length - OVERHEAD_BYTES);\n        let tag = self\n"
)


def _sealed_again(condition: str) -> str:
    """Return the code that seals a copy of those packets before they are sealed."""
    before, tag = _SEALING.split("\n", 1)
    return f"""{before}
        if {condition} {{
            let mut again = [0; 2048];
            let again = &mut again[..text.len().min(2048)];
            again.copy_from_slice(&text[..again.len()]);
            std::hint::black_box(self.key.aead.seal(self.key.nonce(*prefix), &*prefix, again));
        }}
{tag}"""


SLOWER_SEAL: Final = Plant(
    "Seal every packet twice", _SEAL, _SEALING, _sealed_again("seq < u64::MAX"), frozenset({"core_cpu"})
)
FIVE_PERCENT: Final = Plant(
    "Seal every seventh packet twice", _SEAL, _SEALING, _sealed_again("seq % 7 == 0"), frozenset({"core_cpu"})
)
"""A seventh of what sealing each of them twice costs: some 5 % of the core's CPU time."""
EXTRA_COPY: Final = Plant(
    "Copy a block for each of its packets",
    "punktfunk/core/src/packetize/punktfunk1.rs",
    "                if index < last {\n",
    "                std::hint::black_box(data.to_vec());\n                if index < last {\n",
    frozenset({"core_cpu"}),
)
FEWER_SHARDS: Final = Plant(
    "Send one recovery shard fewer",
    "punktfunk/core/src/geometry.rs",
    "        let m = recovery_shards(k, self.percent).min(self.max_total.saturating_sub(k));\n",
    "        let m = recovery_shards(k, self.percent)\n"
    "            .saturating_sub(1)\n"
    "            .min(self.max_total.saturating_sub(k));\n",
    frozenset({"recovery", "fec_success", "frames_lost", "frames_unrecoverable"}),
)
RUST: Final = (SLOWER_SEAL, EXTRA_COPY, FEWER_SHARDS)


class History:
    """A clone to commit to; nothing of it reaches the clone that it was made of."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def git(self, *arguments: str) -> str:
        """Run git there, as nobody in particular and without anybody's configuration."""
        who = {
            f"GIT_{role}_{what}": name for role in ("AUTHOR", "COMMITTER") for what, name in _NOBODY.items()
        }
        done = subprocess.run(
            ["git", "-C", str(self.tree), *arguments],
            env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, subject: str) -> str:
        """Commit all that changed and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def plant(self, plant: Plant) -> str:
        """Commit a plant."""
        plant.apply(self.tree)
        return self.commit(plant.subject)

    def grow(self, commits: int, planted: dict[int, Sequence[Plant]]) -> list[str]:
        """Commit a word of documentation as often, and at those places the plants too; return the commits."""
        made = []
        for number in range(commits):
            for plant in planted.get(number, ()):
                plant.apply(self.tree)
            page = self.tree / "harness" / "__init__.py"
            with page.open("a", encoding="utf-8") as file:
                file.write(f"# Described for the {number}th time.\n")
            subjects = [plant.subject for plant in planted.get(number, ())]
            made.append(
                self.commit(" and ".join(subjects) or f"Describe the harness for the {number}th time")
            )
        return made


_NOBODY: Final = {"NAME": "nobody", "EMAIL": "nobody@example.org"}


def compile_all() -> int:
    """Check that the core compiles with all plants and return cargo's exit status.

    The seal that is slower for some packets shares its place and its code with the one that is slower for all.
    """
    root = Path(__file__).resolve().parents[2]
    core = Path("punktfunk", "core")
    with tempfile.TemporaryDirectory(prefix="punktfunk-plants-") as folder:
        tree = Path(folder)
        shutil.copytree(root / core, tree / core, ignore=shutil.ignore_patterns("target", "*.so"))
        for plant in RUST:
            plant.apply(tree)
        # What the core's own tests compiled of other crates is not compiled again.
        return subprocess.run(
            ["cargo", "check", "--locked", "--release", "--package", "punktfunk-core"],
            cwd=tree / core,
            env={"CARGO_TARGET_DIR": str(root / core / "target"), **os.environ},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(compile_all())
