"""The wheel that all tests here look at, built at most once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.wheel import built_wheel


@pytest.fixture(scope="session")
def wheel() -> Path:
    """Return the wheel of this state of the clone."""
    if shutil.which("cargo") is None:
        pytest.skip("no Rust toolchain, so no wheel can be made")
    return built_wheel()
