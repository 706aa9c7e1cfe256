"""The driver that the tests of VA-API run on, compiled once; outside of ``nox -s vaapi`` nothing here is collected."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

INSIDE = "PUNKTFUNK_VAAPI"
collect_ignore_glob = [] if os.environ.get(INSIDE) else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _driver(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have libva load the driver of ``cpu_driver.c``, here and in every process that is started."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("cpu_driver.c")
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run(
        ["gcc", *flags, str(source), "-o", str(folder / "cpu_drv_video.so"), "-lavcodec", "-lavutil"],
        check=True,
    )
    os.environ["LIBVA_DRIVERS_PATH"] = str(folder)
    os.environ["LIBVA_DRIVER_NAME"] = "cpu"
