"""Live cases on a cluster: on workers that offer a link, one at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.analysis import runs
from tests.cluster.machines import PORT, Machines

pytestmark = pytest.mark.root

LIVE = """
name: live
repeats: 2
media: {frames: 60, frame_bytes: 3 kB}
link: {backend: tun, down: {delay: 5 ms, loss: 2 %}, up: {delay: 5 ms}}
"""


def test_live_cases_stream_on_the_worker_that_offers_a_link_and_leave_here_what_they_leave_there(
    machines: Machines, tmp_path: Path
) -> None:
    (tmp_path / "live.yaml").write_text(LIVE, encoding="utf-8")
    machines.scheduler()
    machines.worker(1)
    machines.worker(2, "--resources", "link=1")
    process = machines.lab("run", "live.yaml", "--on", f"dask://127.0.0.1:{PORT}", "--out", "there")
    machines.ran(process)
    (folder,) = (tmp_path / "there").iterdir()
    run = runs.load(folder)[0]
    assert [case.status.value for case in run.cases] == ["passed", "passed"]
    for case in run.cases:
        names = {p.name for p in (folder / case.id).iterdir()}
        assert {"case.json", "spec.json", "frames.parquet", "host.log", "client.log"} <= names
        assert json.loads((folder / case.id / "case.json").read_text())["backend"] == "tun"
