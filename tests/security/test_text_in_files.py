"""Nothing that a file says acts on a terminal: every place of a scenario, a result, a state or configuration file."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel

import punktfunk
from harness.analysis import results
from harness.cli import main
from harness.scenario.model import Scenario
from punktfunk.process.program import run_program
from tests.support.hostile_text import (
    ATTACK,
    LONG,
    SHORT,
    Terminal,
    harm,
    run,
)


def places(kind: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that a scenario may have: each is a place for a text."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind, include_extras=True)
        for name, field in kind.model_fields.items():
            yield (*where, field.alias or name)
            yield from places(hints[name], (*where, field.alias or name))
        return
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        yield from places(inner[0], (*where, "[]"))
    elif origin is dict:
        yield (*where, "KEY")
        yield from places(inner[1], (*where, "name"))
    elif origin in {typing.Annotated, typing.Union, UnionType}:
        for part in inner[:1] if origin is typing.Annotated else inner:
            yield from places(part, where)


SCENARIO_PLACES = sorted(
    place
    for place in {*places(Scenario)}
    # Both directions, and the keys of a layer, are read by the same models.
    if "up" not in place[:-1] and not (place[0] == "layers" and len(place) > 3)
)


def planted(place: tuple[str, ...], text: str) -> Any:
    """Return a document with a text at one place."""
    value: Any = text
    for step in reversed(place):
        value = [value] if step == "[]" else {text: {}} if step == "KEY" else {step: value}
    return value


def test_the_places_of_a_scenario_are_found() -> None:
    assert len(SCENARIO_PLACES) > 100
    assert {
        ("name",),
        ("layers", "KEY"),
        ("layers", "name", "description"),
        ("link", "down", "loss", "rate"),
    } <= {*SCENARIO_PLACES}


@pytest.mark.parametrize("place", SCENARIO_PLACES, ids=".".join)
def test_a_text_anywhere_in_a_scenario_is_shown_as_text(
    place: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (ATTACK + "\ud800", LONG):
        # JSON is YAML, and its escapes stand for what YAML takes in no other way.
        Path("hostile.yaml").write_text(json.dumps(planted(place, text)), encoding="utf-8")
        main(["run", "hostile.yaml", "--list"])
        out, err = capsys.readouterr()
        assert not harm(out + err)
        assert len(out + err) < 20_000


@pytest.mark.parametrize(
    "raw",
    [ATTACK.encode(), LONG.encode(), b"\xff\xfe\x1b[2J", b"\x1b" * 65536],
    ids=["short", "64 KiB", "not UTF-8", "escapes"],
)
def test_raw_bytes_in_a_scenario_are_shown_as_text(
    raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for around in (
        b"%s",
        b"media: {frames: 5} # %s",
        b"media:\n  frames: %s\n",
        b"medai: {%s: 1}",
        b"seed: '%s",
    ):
        Path("hostile.yaml").write_bytes(around % raw)
        assert main(["run", "hostile.yaml", "--list"]) == 2
        out, err = capsys.readouterr()
        assert not harm(out + err)
        assert len(out + err) < 20_000


def hostile(kind: Any, text: str) -> Any:  # noqa: PLR0911 - one a kind
    """Return a value of a type in which every text is the given one."""
    if kind in {str, Any, results.Status}:
        return "failed" if kind is results.Status else text
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind)
        return {
            name: hostile(hints[name], text)
            for name in kind.model_fields
            if name not in {"schema_version", "backend", "spec_digest"}
        } | ({"backend": "sim"} if "backend" in kind.model_fields else {})
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [hostile(inner[0], text)]
    if origin is tuple:
        return [hostile(one, text) for one in inner]
    if origin is dict:
        # Of a closed set of keys none can be hostile.
        closed = typing.get_args(inner[0]) if typing.get_origin(inner[0]) is typing.Literal else ()
        keys = tuple(results.Status) if inner[0] is results.Status else closed or (text,)
        return {key: hostile(inner[1], text) for key in keys}
    if origin in {typing.Union, UnionType}:
        return hostile(inner[0], text)
    if origin is typing.Literal:
        return inner[0]
    return {int: 3, float: 1.5, bool: False}[kind]


@pytest.mark.parametrize("text", [ATTACK, LONG], ids=["short", "64 KiB"])
def test_a_result_file_full_of_hostile_texts_is_compared_and_reported_as_text(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    document = hostile(results.RunResult, text) | {"schema_version": results.SCHEMA_VERSION}
    document["cases"][0]["schema_version"] = results.SCHEMA_VERSION
    for name in ("a", "b"):
        Path(name).mkdir()
        document["cases"][0]["metrics"]["frames_submitted"] = {"value": ord(name), "unit": "frames"}
        document["cases"][0]["status"] = "passed"
        document["scenario"] = f"{text}{name}"
        document["cases"][0]["protocol"] = f"{text}{name}"
        document["environment"] = {"machine_class": f"{text}{name}", text: text}
        (Path(name) / "run.json").write_text(json.dumps(document))
    for command in (
        ["compare", "a", "b"],
        ["report", "a"],
        ["baseline", "a", "--folder", "kept"],
        ["calibrate", "a"],
        ["run", "--resume", f"x{SHORT}"],
    ):
        main(command)
        out, err = capsys.readouterr()
        assert not harm(out + err), command
        assert len(out + err) < 60_000, command
    written = [file for file in Path("a").iterdir() if file.suffix in {".html", ".md", ".xml"}]
    assert len(written) == 3
    for file in written:
        assert not harm(file.read_text(encoding="utf-8")), file


STATE_FILES = {
    "trust.json": {"schema_version": 1, "clients": [{"fingerprint": "ab", "name": "TEXT"}]},
    "settings.json": {"schema_version": 1, "settings": {"TEXT": "TEXT"}},
    "console.json": {"schema_version": 1, "password_hash": "TEXT"},
    "mgmt-token": "TEXT",
    "cert.pem": "TEXT",
}


@pytest.mark.parametrize("name", STATE_FILES)
def test_a_text_in_a_state_file_is_shown_as_text(name: str, tmp_path: Path) -> None:
    state = tmp_path / "punktfunk"
    state.mkdir(0o700)
    content = STATE_FILES[name]
    text = json.dumps(content) if isinstance(content, dict) else content
    for attack in (ATTACK, LONG):
        escaped = json.dumps(attack)[1:-1] if isinstance(content, dict) else attack
        (state / name).write_text(text.replace("TEXT", escaped))
        (state / name).chmod(0o600)

        async def scenario() -> None:
            serve = [
                "-v",
                "serve",
                "--no-gamestream",
                "--bind",
                "127.0.0.1",
                "--native-port",
                "0",
                "--no-mdns",
            ]
            host = Terminal([*serve, "--mgmt-bind", "127.0.0.1:0", "--source", "synthetic"], tmp_path)
            assert await host.run() in {2, 5}
            assert not harm(host.text)
            assert len(host.text) < 20_000
            assert "Traceback" not in host.text

        run(scenario())


@pytest.mark.parametrize("model", [punktfunk.HostConfig, punktfunk.ClientConfig])
def test_a_configuration_file_is_quoted_as_text(
    model: type[BaseModel], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def never(_config: BaseModel) -> int:
        raise AssertionError

    file = tmp_path / f"c{SHORT}.json"
    for document in ({LONG: 1}, {"bind": LONG}, {"source": {"kind": LONG}}, {"mode": LONG}):
        file.write_text(json.dumps(document))
        assert run_program("x", model, never, ["--config", str(file)]) == 2
        err = capfd.readouterr().err
        assert err
        assert not harm(err)
        assert len(err) < 10_000
