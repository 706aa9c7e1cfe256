"""Cases on a Dask cluster: whom it speaks to, whose results it takes, and that they are those of this machine.

Here scheduler and worker are threads of this process, behind real sockets; machines, deaths and cut networks are in
``tests/cluster`` (``nox -s cluster``).
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.analysis import runs
from harness.analysis.results import CaseResult, Status
from harness.cli import main
from harness.run import case as case_module
from harness.run import cluster, elsewhere, groups, many
from harness.run.cluster import Mismatch, connected, guarded, parse, trusted_in_the_clear
from harness.run.context import RunContext
from harness.run.elsewhere import Carried, carried, unpack
from harness.run.fingerprint import code_digest, differences, fingerprint
from harness.run.many import run_table
from harness.run.progress import PlainReporter
from harness.run.store import RunFolder, RunPlan
from harness.scenario.expand import expand
from harness.scenario.link import Backend
from punktfunk.errors import ClusterError, OpenClusterError, ResultsError, UsageError, WorkerMismatchError

SMALL = """
name: small
for: {loss: [0 %, 2 %, 10 %], rtt: [1 ms, 30 ms]}
media: {frames: 10, frame_bytes: 3 kB, key_interval: 0}
stream: {fec: 30 %}
link: {backend: sim, down: {delay: "${rtt}", loss: "${loss}"}}
"""


@pytest.fixture(scope="module", autouse=True)
def certificates() -> Iterator[None]:
    """Have Dask configured by this file alone, with certificates for every part, made for it.

    A user's own configuration could name other certificates, another time to live, or a scheduler.
    """
    import dask.config
    from distributed.security import Security

    made = Security.temporary()
    parts = {
        f"{part}.{what}": getattr(made, f"tls_{part}_{what}")
        for part in ("scheduler", "worker", "client")
        for what in ("cert", "key")
    }
    before = {**dask.config.config}
    dask.config.refresh(paths=[], env={})
    with dask.config.set(
        {
            "distributed.comm.require-encryption": True,
            **{f"distributed.comm.tls.{name}": text for name, text in parts.items()},
            "distributed.comm.tls.ca-file": made.tls_ca_file,
        }
    ):
        yield
    dask.config.config.clear()
    dask.config.config.update(before)


def one_worker(**options: Any) -> Any:
    """Return a scheduler with a worker, threads of this process."""
    from distributed import LocalCluster
    from distributed.security import Security

    return LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tls://",
        security=Security(),
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **options,
    )


@pytest.fixture(scope="module")
def local(certificates: None) -> Iterator[Any]:
    """Return a scheduler with one worker, which offers a link."""
    with one_worker(resources={"link": 1}) as started:
        yield started


@pytest.fixture
def on(local: Any) -> str:
    """Return its address as ``--on`` takes it."""
    return str(local.scheduler_address).replace("tls://", "dask://")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digest_of(text: str) -> str:
    found = re.search(r"digest of the simulated cases: ([0-9a-f]{64})", text)
    assert found is not None, text
    return found[1]


# --- whom it speaks to --------------------------------------------------------------------------------------


def test_a_cluster_is_named_by_its_kind() -> None:
    assert parse("local:2") == 2
    assert parse("local:256") == 256
    assert parse("dask://lab.example:8786") == ("lab.example", 8786)
    assert parse("dask://[fd77::1]:8786/") == ("fd77::1", 8786)


@pytest.mark.parametrize(
    "text",
    [
        "local",
        "local:",
        "local:0",
        "local:257",
        "local:-1",
        "local:²",
        "local:" + "9" * 5000,
        "dask://lab",
        "dask://:8786",
        "dask://lab:99999",
        "dask://lab:x",
        "dask://lab:1/x",
        "dask://lab:1?x=y",
        "tcp://lab:8786",
        "ssh:lab",
    ],
)
def test_another_text_names_none(text: str) -> None:
    with pytest.raises(UsageError, match="names no cluster"):
        parse(text)


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.77.3.2", True),
        ("fd77:3::2", True),
        ("10.76.255.255", False),
        ("10.78.0.0", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("lab.example", False),
        ("localhost.example", False),
    ],
)
def test_inside_our_namespaces_they_and_loopback_are_spoken_to_in_the_clear(
    host: str, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("outward_interfaces", "outward_networks"):
        monkeypatch.setattr(cluster, name, list)
    monkeypatch.setattr(cluster, "interfaces", lambda: addressed("10.77.3.1"))
    assert trusted_in_the_clear(host) is trusted


def addressed(*addresses: str) -> list[SimpleNamespace]:
    """Return interfaces with these addresses."""
    return [SimpleNamespace(addresses=[SimpleNamespace(ip=ipaddress.ip_address(text))]) for text in addresses]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "10.77.3.2"])
@pytest.mark.parametrize("addresses", [(), ("127.0.0.1", "192.0.2.7")])
def test_on_a_machine_with_other_users_loopback_is_not_spoken_to_in_the_clear(
    host: str, addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that machine is connected to nothing at this time."""
    for name in ("outward_interfaces", "outward_networks"):
        monkeypatch.setattr(cluster, name, list)
    monkeypatch.setattr(cluster, "interfaces", lambda: addressed(*addresses))
    assert not trusted_in_the_clear(host)


@pytest.mark.parametrize("way_out", ["outward_interfaces", "outward_networks"])
@pytest.mark.parametrize("host", ["10.77.3.2", "fd77:3::2"])
def test_a_network_that_has_addresses_as_our_namespaces_is_not_spoken_to_in_the_clear(
    host: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("outward_interfaces", "outward_networks"):
        monkeypatch.setattr(cluster, name, lambda name=name: ["a default route"] if name == way_out else [])
    monkeypatch.setattr(cluster, "interfaces", lambda: addressed(host))
    assert not trusted_in_the_clear(host)
    assert not trusted_in_the_clear("127.0.0.1")


def test_a_cluster_elsewhere_without_tls_is_refused_before_a_byte_is_sent_and_why_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dask.config

    with dask.config.set({"distributed.comm.tls.client.cert": None}):
        assert main(["run", "small.yaml", "--on", "dask://192.0.2.1:8786"]) == 2
    said = capsys.readouterr().err
    assert "error[PF682]" in said
    assert "what it sends is unpickled here" in said
    assert "--insecure-cluster" in said
    assert not (place / "reports").exists(), "nothing was begun"


def test_a_user_who_says_so_gets_as_far_as_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.config

    monkeypatch.setattr(cluster, "CONNECT_S", 0.2)
    monkeypatch.setattr(cluster, "trusted_in_the_clear", lambda _: False)
    with (
        dask.config.set(
            {"distributed.comm.tls.client.cert": None, "distributed.comm.require-encryption": None}
        ),
        pytest.raises(ClusterError, match="no scheduler answers at tcp://") as caught,
        connected("dask://127.0.0.2:9", insecure=True),
    ):
        pass
    assert not isinstance(caught.value, OpenClusterError)


def test_who_is_not_kept_from_a_cluster_by_tls_is_kept_from_it_by_its_address(
    on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler of this file is there, and would be spoken to without certificates: it is not even asked."""
    import dask.config

    monkeypatch.setattr(cluster, "interfaces", list)
    with (
        dask.config.set({"distributed.comm.tls.client.cert": None}),
        pytest.raises(OpenClusterError, match="without TLS"),
        connected(on),
    ):
        pass


def test_the_library_has_its_log_again_afterwards(on: str) -> None:
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with connected(on):
            assert logger.level == logging.CRITICAL
        assert logger.level == logging.WARNING
        with pytest.raises(UsageError), connected("dask://"):
            pass
        assert logger.level == logging.WARNING
    finally:
        logger.setLevel(before)


# --- whose results it takes ---------------------------------------------------------------------------------


def test_a_fingerprint_names_code_and_versions_and_what_differs() -> None:
    here = fingerprint()
    assert {"python", "punktfunk", "core", "sources", "numpy"} <= here.keys()
    assert all(here.values())
    assert differences(here, dict(here)) == []
    there = {**here, "core": "0" * 16, "numpy": "1.0"}
    del there["scipy"]
    assert differences(here, there) == [
        f"numpy 1.0, not {here['numpy']}",
        f"scipy missing, not {here['scipy']}",
        f"core {'0' * 16}, not {here['core']}",
    ]
    assert len(code_digest()) == 16


def test_a_worker_of_other_code_does_no_work_and_says_what_differs() -> None:
    called: list[int] = []
    assert guarded(fingerprint(), called.append, 1) is None
    answer = guarded({**fingerprint(), "sources": "others"}, called.append, 2)
    assert isinstance(answer, Mismatch)
    assert answer.said == f"sources {fingerprint()['sources']}, not others"
    assert called == [1]


def test_nothing_is_sent_to_workers_of_other_code(
    place: Path, on: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker is a thread here: what it answers is what this process has, so that we are those who differ."""
    mine = {**fingerprint(), "core": "0123456789abcdef"}
    calls = iter([fingerprint(), mine])
    monkeypatch.setattr(cluster, "fingerprint", Alternating(calls))
    assert main(["run", "small.yaml", "--on", on]) == 4
    said = capsys.readouterr().err
    assert "error[PF681] worker tls://127.0.0.1:" in said
    assert f"core {fingerprint()['core']}, not 0123456789abcdef" in said
    assert not (place / "reports").exists()


class Alternating:
    """Answers as the worker first and as this process afterwards; pickles as the worker's answer."""

    def __init__(self, answers: Iterator[dict[str, str]]) -> None:
        self._worker, self._here = answers

    def __call__(self) -> dict[str, str]:
        return self._here

    def __reduce__(self) -> tuple[Any, ...]:
        return _known, (self._worker,)


def _known(answer: dict[str, str]) -> Any:
    from functools import partial

    return partial(dict, answer)


def test_a_worker_that_joins_with_other_code_ends_the_run_with_what_is_there(
    place: Path, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "EACH_UP_TO", 5)
    folder = RunFolder.create(place / "out", ["small"], RunPlan(("small.yaml",), None, None, ""))
    with connected(on) as there:
        # The worker is a thread of this process: we are asked first, and differ; it is what it is.
        answers = iter([{"core": "another"}])
        monkeypatch.setattr(cluster, "fingerprint", lambda: next(answers, fingerprint()))
        outcome = run_table(expand(place / "small.yaml").cases, folder, PlainReporter(), elsewhere=there)
    assert isinstance(outcome.trouble, WorkerMismatchError)
    assert outcome.run.verdict is Status.INTERRUPTED
    assert "The run ended early: a worker that joined runs other code" in outcome.run.notes[0]


def test_files_of_a_case_come_back_and_none_leaves_its_folder(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    case = expand(tmp_path / "small.yaml").cases[0]
    folder = RunFolder.create(tmp_path, ["small"], RunPlan((), None, None, ""))
    (found,) = carried([case], RunContext("t"), simulated=True)
    assert set(found.files) == {"frames.parquet"}
    result = unpack(found, case, folder)
    assert result.status is Status.PASSED
    assert (folder.path / case.id / "frames.parquet").read_bytes() == found.files["frames.parquet"]
    for name in ("../x", "/tmp/x", "a/../../x", "", "spec.json", "a\0b", "a\udc80", "\x1b[2J"):
        with pytest.raises(ResultsError, match="none of a case's folder"):
            unpack(replace(found, files={name: b""}), case, folder)
    for name in ("x" * 300, "x" * 300 + "/y", "frames.parquet/x"):
        with pytest.raises(ResultsError, match=r"cannot be (kept|written)|could not write|write"):
            unpack(replace(found, files={name: b""}), case, folder)
    other = expand(tmp_path / "small.yaml").cases[1]
    with pytest.raises(ResultsError, match="came back for"):
        unpack(found, other, folder)


def test_what_is_too_large_to_carry_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    case = expand(tmp_path / "small.yaml").cases[0]
    folder = RunFolder.create(tmp_path, ["small"], RunPlan((), None, None, ""))
    monkeypatch.setattr(elsewhere, "MOST_BYTES", 100)
    (found,) = carried([case], RunContext("t"), simulated=True)
    assert (found.files, found.left_out) == ({}, ("frames.parquet",))
    assert "frames.parquet" in unpack(found, case, folder).link["left_behind"]


# --- that they are those of this machine --------------------------------------------------------------------


def test_a_run_on_a_cluster_leaves_what_a_run_here_leaves(
    place: Path, on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, more in (("there", ["--on", on]), ("here", ["-j", "1"])):
        assert main(["run", "small.yaml", "--no-charts", "--out", out, *more]) == 0
    said = capsys.readouterr().out
    there, here = digest_of(said), digest_of(said[said.rindex("digest") :])
    assert there == here
    (ran_there,), (ran_here,) = (list((place / out).iterdir()) for out in ("there", "here"))
    assert [case.digest for case in runs.load(ran_there)[0].cases] == [
        case.digest for case in runs.load(ran_here)[0].cases
    ]
    names = [
        sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file())
        for run in (ran_there, ran_here)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith("spec.json"):
            assert (ran_there / name).read_bytes() == (ran_here / name).read_bytes()


def test_a_table_made_on_a_cluster_has_the_digest_of_one_made_here(
    place: Path, on: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(many, "EACH_UP_TO", 5)
    for name in ("LEAST", "MOST"):
        monkeypatch.setattr(groups, name, 2)
    for out, more in (("there", ["--on", on]), ("here", ["-j", "1"])):
        assert main(["run", "small.yaml", "--no-charts", "--out", out, *more]) == 0
    said = capsys.readouterr().out
    assert digest_of(said) == digest_of(said[said.rindex("digest") :])
    (folder,) = (place / "there").iterdir()
    assert not [p for p in folder.iterdir() if p.is_dir() and p.name != "cases"]


def test_live_cases_go_to_a_worker_that_offers_a_link(
    place: Path, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "live.yaml").write_text(
        'name: live\nfor: {link: [tun, auto]}\nmedia: {frames: 3}\nlink: {backend: "${link}"}\n',
        encoding="utf-8",
    )
    cases = list(expand(place / "live.yaml").cases)
    asked: list[Backend] = []

    def none(backend: Backend) -> Any:
        asked.append(backend)
        return SimpleNamespace(ok=False, reason="no TUN there", fix="modprobe tun")

    monkeypatch.setattr(case_module, "capability", none)
    with connected(on) as there:
        assert there.carries_links
        found = {case.id: answer for case, answer in there.links(cases, RunContext("t"))}
    assert set(found) == {case.id for case in cases}
    for answer in found.values():
        assert isinstance(answer, Carried)
    first, second = (found[case.id] for case in cases)
    assert isinstance(first, Carried)
    assert isinstance(second, Carried)
    assert (first.result.status, "no TUN there" in first.result.reason) == (Status.UNSUPPORTED, True)
    assert second.result.backend == "sim", "without a link there, auto is simulated there"


def test_how_the_library_closes_hides_no_error_of_the_run() -> None:
    class Reconnecting:
        """Is closed while it connects to a scheduler that has gone; so said distributed over TLS."""

        closed = 0

        def close(self) -> None:
            self.closed += 1
            raise ValueError("IOStream is not idle; cannot convert to SSL")

    client = Reconnecting()
    with pytest.raises(ClusterError, match="the scheduler was lost"), ExitStack() as stack:  # noqa: PT012 - a run
        cluster._closed_by(stack, client)  # type: ignore[arg-type]
        raise ClusterError("the scheduler was lost", "go on with --resume")
    assert client.closed == 1


def test_a_scheduler_that_is_lost_ends_the_run_with_what_is_there_and_resume_completes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "EACH_UP_TO", 5)
    for name in ("LEAST", "MOST"):
        monkeypatch.setattr(groups, name, 1)
    cases = expand(place / "small.yaml").cases
    folder = RunFolder.create(place / "out", ["small"], RunPlan(("small.yaml",), None, None, ""))
    started = one_worker()

    class Losing(PlainReporter):
        """Ends the cluster once a case has ended."""

        def advanced(self, cases: int, bad: int, estimate_s: float) -> None:
            """Close it, once."""
            started.close()

    with started, connected(str(started.scheduler_address).replace("tls", "dask")) as there:
        outcome = run_table(cases, folder, Losing(), elsewhere=there)
    assert isinstance(outcome.trouble, ClusterError)
    assert "--resume" in outcome.trouble.hint
    assert outcome.run.table is not None
    kept = sum(outcome.run.table.statuses.values())
    assert 1 <= kept < 6
    again = run_table(cases, folder, PlainReporter())
    assert (again.reused, again.run.verdict) == (kept, Status.PASSED)
    assert again.run.table is not None
    assert again.run.table.statuses == {Status.PASSED: 6}
    assert isinstance(again.run.cases, list)
    assert not [case for case in again.run.cases if isinstance(case, CaseResult)]
