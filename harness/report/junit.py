"""JUnit XML of a run: a suite a layer, a test case a case, one more suite for the whole sweep."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from harness.analysis.results import CaseResult, Check, RunResult, Status
from harness.report.text import clean, disbelief, layers, verdict_line, wire


def render(run: RunResult) -> str:
    """Return the run as JUnit XML text."""
    root = ET.Element(
        "testsuites", name=clean(run.scenario), time=f"{run.duration_s:.3f}", timestamp=clean(run.started)
    )
    for name, cases in layers(run).items():
        suite = ET.SubElement(
            root, "testsuite", name=clean(name), time=f"{sum(c.duration_s for c in cases):.3f}"
        )
        for case in cases:
            _case(suite, case)
        _count(suite)
    if run.table is not None:
        # Those that passed are no test each: what collects such files is not made for a hundred thousand.
        suite = ET.SubElement(root, "testsuite", name=f"{clean(run.scenario)}: all cases", time="0")
        ET.SubElement(
            suite, "testcase", name=clean(verdict_line(run)), classname=clean(run.scenario), time="0"
        )
        _count(suite)
    if run.checks:
        suite = ET.SubElement(root, "testsuite", name=f"{clean(run.scenario)}: whole sweep", time="0")
        for check in run.checks:
            test = ET.SubElement(
                suite, "testcase", name=clean(check.name), classname=clean(run.scenario), time="0"
            )
            if not check.passed:
                _failure(test, check)
        _count(suite)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.SubElement(root, "system-out").text = clean("\n".join([verdict_line(run), *run.notes]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, case: CaseResult) -> None:
    test = ET.SubElement(
        suite, "testcase", name=clean(case.id), classname=clean(case.scenario), time=f"{case.duration_s:.3f}"
    )
    failed = [check for check in case.checks if not check.passed]
    for check in failed:
        _failure(test, check)
    if case.status is Status.FAILED and not failed:
        ET.SubElement(test, "failure", message=clean(case.reason or "failed"))
    elif case.status in {Status.FAULT, Status.INTERRUPTED}:
        ET.SubElement(test, "error", message=clean(case.reason or case.status.value))
    elif case.status is Status.UNSUPPORTED:
        ET.SubElement(test, "skipped", message=clean(case.reason))
    busy = disbelief(case)
    ET.SubElement(test, "system-out").text = clean(
        f"protocol {wire(case)}\nseed {case.seed}\nreplay: {case.replay}\nfolder: {case.folder}"
        + (f"\n{busy}" if busy else "")
    )


def _failure(test: ET.Element, check: Check) -> None:
    message = f"{check.name}: expected {check.expected}, measured {check.measured}"
    ET.SubElement(test, "failure", message=clean(message)).text = clean(check.detail)


def _count(suite: ET.Element) -> None:
    tests = suite.findall("testcase")
    suite.set("tests", str(len(tests)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(test.find(tag) is not None for test in tests)))
