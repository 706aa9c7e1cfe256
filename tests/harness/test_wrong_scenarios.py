"""A wrong scenario is answered with its position, its line, a caret and a hint: golden outputs, one a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.results import CaseResult, Status
from harness.cli import main
from harness.run import case as running
from harness.run.context import RunContext
from harness.scenario.document import MAX_BYTES
from harness.scenario.expand import Case, expand
from harness.scenario.link import Backend
from punktfunk.errors import ResultsError, ScenarioError

WRONG = Path(__file__).parent / "wrong"
FILES = sorted(WRONG.glob("*.yaml"))


def explanation(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Expand a wrong file from its own folder, so that the golden text has no path of this machine."""
    monkeypatch.chdir(WRONG)
    with pytest.raises(ScenarioError) as caught:
        expand(Path(name))
    return caught.value.cause + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_wrong_scenario_shows_position_line_caret_and_hint(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = explanation(file.name, monkeypatch)
    golden = file.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


def test_the_command_ends_with_2_and_prints_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(WRONG)
    assert main(["run", "unknown_key.yaml", "--list"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "unknown_key.yaml:5:5: unknown key 'dely' in link.down" in err
    assert "did you mean 'delay'?" in err


def test_everything_that_is_wrong_with_a_file_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = explanation("bad_range.yaml", monkeypatch)
    assert said.startswith("3 problems in bad_range.yaml")


def test_a_file_that_does_not_exist_is_a_scenario_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no-such.yaml:1:1: cannot be read" in explanation("no-such.yaml", monkeypatch)


def test_a_caret_stands_below_the_word_that_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    head, line, caret = explanation("unknown_key.yaml", monkeypatch).splitlines()[1:4]
    start = caret.index("^")
    assert line[start : start + caret.count("^")] == "dely"
    assert head.startswith("unknown_key.yaml:5:5:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: " + "1" * 5000, "1:7: seed: "),
        ("media: " + "[" * 20_000 + "]" * 20_000, "1:1: nested deeper than 40 levels"),
        ("media: " + "[" * 60 + "]" * 60, "nested deeper than 40 levels"),
        ("extends: " + "a" * 5000, "1:10: there is no file "),
        ('extends: "a\\0b.yaml"', "1:10: there is no file "),
        ('extends: "\\uD800.yaml"', "1:10: there is no file "),
        ("media: {source: file, file: " + "a" * 5000 + "}", "media.file: there is no file "),
    ],
    ids=["digits", "brackets", "levels", "long-name", "nul", "surrogate", "long-path"],
)
def test_what_python_refuses_is_a_scenario_error_too(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        expand(file)
    assert said in caught.value.cause


def test_what_is_no_file_of_a_scenario_is_refused_at_once_and_costs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO would hold the harness up for ever, /dev/zero took 8.5 GB, a file of a tebibyte would take that."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.yaml")
    Path("folder.yaml").mkdir()
    Path("link.yaml").symlink_to("/dev/zero")
    with Path("huge.yaml").open("wb") as file:
        file.truncate(1 << 40)
    Path("extends.yaml").write_text("extends: fifo.yaml\n")
    for name in ("fifo.yaml", "link.yaml", "huge.yaml"):
        Path(f"trace-{name}").write_text(f"link: {{down: {{trace: {name}}}}}\n")
    Path("media.yaml").write_text("media: {source: file, file: fifo.yaml}\n")
    program = r"""
import re, sys
from pathlib import Path
from harness.cli import main
statuses = [main(["run", name, "--list"]) for name in sys.argv[1:]]
statuses += [main(["compare", name, name]) for name in sys.argv[1:]]
# Not ru_maxrss: a process inherits it from the one that started it.
peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
print(statuses, int(peak_kb) // 1024)
"""
    names = ["/dev/zero", *sorted(path.name for path in tmp_path.iterdir())]
    done = subprocess.run(
        [sys.executable, "-c", program, *names], capture_output=True, text=True, timeout=100, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    statuses, megabytes = done.stdout.rsplit(" ", 1)
    expected = [2] * len(names) + [ResultsError.exit_code] * len(names)
    assert json.loads(statuses) == expected, done.stderr
    assert int(megabytes) < 500
    for said in (
        "/dev/zero:1:1: cannot be read: it is no regular file",
        "fifo.yaml:1:1: cannot be read: it is no regular file",
        "huge.yaml:1:1: cannot be read: it has 1099511627776 bytes, more than 1000000",
        "extends.yaml:1:10: there is no file 'fifo.yaml'",
        "trace-fifo.yaml:1:22: link.down.trace: fifo.yaml is no regular file",
        "trace-link.yaml:1:22: link.down.trace: link.yaml is no regular file",
        "trace-huge.yaml:1:22: link.down.trace: huge.yaml cannot be read: it has 1099511627776 bytes",
        "media.yaml:1:29: media.file: fifo.yaml is no regular file",
    ):
        assert said in done.stderr


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1])
def test_a_scenario_may_be_as_long_as_its_limit_and_no_longer(tmp_path: Path, size: int) -> None:
    file = tmp_path / "long.yaml"
    text = "media: {frames: 60}\n#"
    file.write_text(text + "x" * (size - len(text)), encoding="utf-8")
    if size == MAX_BYTES:
        assert len(expand(file).cases) == 1
    else:
        with pytest.raises(ScenarioError, match="it has 1000001 bytes, more than 1000000"):
            expand(file)


@pytest.mark.parametrize(
    "name", ["..", "/", "../../x", "a/b", "nul\\0", "a\\nb", "A", "-a", "é", "a" * 61, ""]
)
def test_a_layer_cannot_write_outside_the_folder_of_its_run(tmp_path: Path, name: str) -> None:
    file = tmp_path / "below" / "layers.yaml"
    file.parent.mkdir()
    file.write_text(f'media: {{frames: 5}}\nlink: {{backend: sim}}\nlayers: {{"{name}": {{}}}}\n')
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", str(file), "--out", str(tmp_path / "below" / "reports"), "--plain"]) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_the_longest_names_make_a_run(tmp_path: Path) -> None:
    file = tmp_path / ("s" * 60 + ".yaml")
    file.write_text(
        f"name: {'n' * 60}\nmedia: {{frames: 5}}\n"
        f'link: {{backend: sim, down: {{loss: "${{{"a" * 60}}}"}}}}\n'
        f"layers: {{{'l' * 60}: {{for: {{{'a' * 60}: [0 %, 1 %]}}}}}}\n"
    )
    assert (
        main(["run", str(file), "--out", str(tmp_path / "reports"), "--plain", "--no-charts", "--jobs", "1"])
        == 0
    )
    assert len(list(tmp_path.glob("reports/*/*/case.json"))) == 2


@pytest.mark.parametrize("shard", [15, 1001, 9154])
@pytest.mark.parametrize("scheme", ["gf8", "gf16"])
def test_a_shard_that_the_core_cannot_carry_is_a_scenario_error(
    tmp_path: Path, scheme: str, shard: int
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"stream: {{scheme: {scheme}, block: 64, shard: {shard} B}}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"1:\d+: stream\.shard: a shard has "):
        expand(file)


@pytest.mark.parametrize(
    ("stream", "most"), [("", 1408), ("encryption: false, ", 1432)], ids=["sealed", "unencrypted"]
)
def test_a_shard_beyond_the_packets_of_a_real_link_is_no_session_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str, most: int
) -> None:
    """Each packet is refused by the socket, and a case of which nothing came passed."""
    ran: list[Backend] = []

    def run_on(backend: Backend, case: Case, _folder: Path, _context: RunContext) -> CaseResult:
        ran.append(backend)
        return running.failed_result(case, backend, Status.FAULT, "ran")

    monkeypatch.setattr(running, "_run_on", run_on)
    for backend in (Backend.TUN, Backend.NETEM, Backend.SIM):
        for shard in (most, most + 2):
            file = tmp_path / "one.yaml"
            file.write_text(f"stream: {{{stream}shard: {shard} B}}\nlink: {{backend: {backend}}}\n")
            [case] = expand(file).cases
            result = running.run_case(case, tmp_path, RunContext(run_id="one"))
            fits = backend is Backend.SIM or shard == most
            said = f"shards of {shard} B make packets of 1502 bytes, and a real link carries 1500"
            assert (said in result.reason, bool(ran)) == (not fits, fits)
            assert (result.status is Status.UNSUPPORTED) is not fits
            assert fits or f"ask for {most} B or less" in result.reason
            ran.clear()
