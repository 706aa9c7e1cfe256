"""Folders of sessions: private, taken away with their session, and swept when their owner died."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from punktfunk.desktop import runtime
from punktfunk.desktop.runtime import RuntimeFolder


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="pf-"))  # pytest's own folders have long names
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder  # type: ignore[misc]
    shutil.rmtree(folder)


def test_a_folder_is_private_and_goes(base: Path) -> None:
    folder = RuntimeFolder()
    assert folder.path.parent == base
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert list(base.iterdir()) == []


def test_a_folder_whose_owner_lives_is_left_alone(base: Path) -> None:
    first, second = RuntimeFolder(), RuntimeFolder()
    assert first.path.exists()
    first.remove()
    second.remove()


def test_a_folder_whose_owner_died_goes_with_the_x_files_that_are_still_its_own(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from punktfunk.desktop.runtime import RuntimeFolder; print(RuntimeFolder().path)"
    dead = Path(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    own, taken = base / "X7-lock", base / "X7"
    own.write_text("")
    taken.write_text("")
    monkeypatch.setattr(runtime, "_x_files", lambda number: iter([own, taken]))
    runtime.note_x_display(dead, ":7")
    other = base / "other"
    other.write_text("")
    other.rename(taken)  # another server has its socket there now
    assert dead.exists()
    RuntimeFolder().remove()
    assert not dead.exists()
    assert not own.exists()
    assert taken.exists()


def test_a_runtime_folder_too_deep_for_a_socket_is_not_used(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = base / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    folder = RuntimeFolder()
    assert len(str(folder.path)) < 60
    folder.remove()
