"""The matrix page: a mark for each test, each explained, with links to what is there and to nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from harness import report
from harness.analysis.results import CaseResult, Check, Metric, RunResult, Status
from harness.report import interop, text


def cell(test: str, client: str, status: Status, **more: object) -> CaseResult:
    name = f"interop.{test}.host=ours,client={client}"
    return CaseResult.model_validate(
        {
            "id": name,
            "scenario": "interop",
            "params": {"host": "ours", "client": client},
            "seed": 1,
            "protocol": "punktfunk/1",
            "backend": "tun",
            "status": status,
            "folder": name,
            **more,
        }
    )


def run(*cases: CaseResult) -> RunResult:
    return RunResult(run_id="r", scenario="interop", started="2026-11-26T00:00:00+00:00", cases=list(cases))


HOSTILE = "<script>alert(1)</script>\x1b[31m"
PASSED = cell(
    "clean",
    "probe",
    Status.PASSED,
    checks=[Check(name="every frame has its picture", passed=True, expected="0", measured="0 missing")],
    peers={"client": {"program": "the probe 7", "ports": []}},
    metrics={"pictures_read": Metric(value=120, unit="frames")},
    outside={
        "impossible": {"client": f"asked for a host that is not there: ended ({HOSTILE})"},
        "told": {"client": {"frames": 120}},
        "wire": {"frames": "120 seen"},
        "evidence": ["packets", "pictures"],
    },
)
FAILED = cell("loss-8", "probe", Status.FAILED, reason=f"it says {HOSTILE}")
UNSUPPORTED = cell("clean", "other", Status.UNSUPPORTED, reason="the program other is not on PATH [PF200]")


def test_every_cell_is_explained_and_leads_to_what_is_there(tmp_path: Path) -> None:
    for name in ("client.log", "client.pcapng"):
        (tmp_path / PASSED.folder).mkdir(exist_ok=True)
        (tmp_path / PASSED.folder / name).touch()
    page = interop.render(run(PASSED, FAILED, UNSUPPORTED), tmp_path)
    links = set(re.findall(r'href="([^"#]+)', page))
    folder = "interop.clean.host%3Dours%2Cclient%3Dprobe"
    assert links == {"report.html", f"{folder}/client.log", f"{folder}/client.pcapng", f"{folder}/"}
    marks = re.findall(r'href="(#cell-[0-9]+)" title="([^"]*)">(.) ([a-z0-9-]+)<', page)
    assert [(sign, test) for _, _, sign, test in marks] == [("✓", "clean"), ("✗", "loss-8"), ("–", "clean")]
    assert marks[0][1] == "1 of 1 checks hold, judged by packets, pictures"
    for anchor, *_ in marks:
        assert f'id="{anchor[1:]}"' in page
    for words in (
        "every frame has its picture",
        "0 missing",
        "frames 120",
        "120 frames",
        "not on PATH",
        "the probe 7",
        "frames on the wire",
        "120 seen",
        "unsupported: one of them cannot do it",
    ):
        assert words in page
    assert ">unsupported</span>" in page.replace("– unsupported", "unsupported")
    assert "PF200" not in page, "a code is for who looks it up, in the log"
    assert "a fault of this harness" not in page, "there was none"
    assert "<script" not in page
    assert "\x1b" not in page


def test_a_run_has_the_page_where_hosts_and_clients_are_its_axes_and_there_alone(tmp_path: Path) -> None:
    plain = PASSED.model_copy(update={"params": {"loss": "2 %"}})
    assert not text.is_matrix(run(plain))
    assert "interop" not in report.write(run(plain), tmp_path, charts=False)
    written = report.write(run(PASSED, FAILED), tmp_path, charts=False)
    assert written["interop"] == tmp_path / "interop.html"
    assert "1 ✓ passed" in written["interop"].read_text(encoding="utf-8")
