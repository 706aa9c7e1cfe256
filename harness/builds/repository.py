"""What is asked of git: which commit a name means, its files, and the history between two."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.builds import failures
from punktfunk.errors import CapabilityError, UsageError

_MAX_FILE_BYTES = 64 << 20
"""Of a file of a commit that is exported; the largest of ours has a few hundred kB."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, and what a person knows it by."""

    sha: str
    subject: str
    author: str
    date: str
    """Of the author, as git writes it."""

    @property
    def short(self) -> str:
        """Return it as people name it: twelve digits and what it is about."""
        return f"{self.sha[:12]} {self.subject}"


class Repository:
    """A clone, bare or not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run git there; raise UsageError with its last words where it fails, unless ``check`` is off."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.path), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            raise CapabilityError("there is no git on PATH", "install git") from error
        if check and done.returncode:
            raise UsageError(f"git {arguments[0]} in {self.path}: {failures.last_words(done.stderr)}")
        return done

    def commit(self, name: str) -> Commit | None:
        """Return the commit that a name means; None where it means none here."""
        if "\0" in name:  # no program can be given that
            return None
        found = self.git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", check=False
        )
        if found.returncode:
            return None
        sha = found.stdout.strip()
        subject, author, date = (
            self.git("show", "--no-patch", "--format=%s%x00%an <%ae>%x00%ad", sha)
            .stdout.rstrip("\n")
            .split("\0")[:3]
        )
        return Commit(sha, subject, author, date)

    def parent(self, sha: str) -> Commit | None:
        """Return the first parent of a commit; None of the first one."""
        return self.commit(f"{sha}^")

    def between(self, range_: str) -> list[str]:
        """Return the commits of a range along first parents, oldest first; raise UsageError for what is none."""
        if "\0" in range_:
            raise UsageError("a range holds no NUL", "name two revisions: v0.1..HEAD")
        return self.git("rev-list", "--first-parent", "--reverse", "--end-of-options", range_).stdout.split()

    def export(self, sha: str, wanted: Callable[[str], bool], to: Path) -> None:
        """Write those files of a commit whose path is wanted; times are now, links are left out."""
        process = subprocess.Popen(
            ["git", "-C", str(self.path), "archive", "--format=tar", sha],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if not member.isfile() or not wanted(member.name) or member.size > _MAX_FILE_BYTES:
                        continue
                    data = archive.extractfile(member)
                    if data is not None:
                        place = to / member.name
                        place.parent.mkdir(parents=True, exist_ok=True)
                        place.write_bytes(data.read())
            words = process.stderr.read().decode(errors="replace")
        if process.returncode:
            raise UsageError(f"git archive {sha[:12]}: {failures.last_words(words)}")
