"""The examination names what is missing, who wants it and what fixes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import doctor
from harness.cli import main
from harness.network.registry import FOLDER_VARIABLE
from harness.run.environment import machine_class


def test_the_core_is_found_and_the_exit_code_says_that_things_can_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["protocol core"]["ok"]
    assert {"root", "sch_netem", "network namespaces", "cargo", "encoder x264", "tc", "tshark"} <= set(
        findings
    )


def test_every_package_of_the_list_is_looked_for() -> None:
    names = {finding.name for finding in doctor.examine()}
    packages = [
        line.split()[0]
        for line in doctor.APT_FILE.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert packages
    assert {doctor.PROGRAMS.get(package, package) for package in packages} <= names


def test_a_missing_package_comes_with_its_user_and_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("tshark"))
    assert " no " in row
    assert "apt-get install tshark" in row
    assert "all missing Debian packages: apt-get install iproute2 ethtool" in said


def test_a_probe_that_breaks_is_a_missing_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[doctor.Finding]:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(doctor, "_cargo", broken)
    (finding,) = (f for f in doctor.examine() if "on fire" in f.detail)
    assert not finding.ok


def test_nothing_is_left_over_where_nothing_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["doctor", "--leftovers"]) == 0
    assert capsys.readouterr().out == "nothing is left over\n"


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz", "intel-xeon-platinum-8488c"),
        ("AMD EPYC 7B13 Processor", "amd-epyc-7b13"),
    ],
)
def test_a_machine_class_keeps_the_model_and_drops_clock_and_marks(cpu: str, expected: str) -> None:
    name = machine_class(cpu, 4, "6.18.44-generic")
    assert f"-{expected}-4c-linux6.18-py3." in name
