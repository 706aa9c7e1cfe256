"""A wrong scenario is answered with its position, its line, a caret and a hint: golden outputs, one a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.cli import main
from harness.expand import expand
from punktfunk.errors import ScenarioError

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


@pytest.mark.parametrize("shard", [15, 1001, 1986])
@pytest.mark.parametrize("scheme", ["gf8", "gf16"])
def test_a_shard_that_the_core_cannot_carry_is_a_scenario_error(
    tmp_path: Path, scheme: str, shard: int
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"stream: {{scheme: {scheme}, block: 64, shard: {shard} B}}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"1:\d+: stream\.shard: a shard has "):
        expand(file)
