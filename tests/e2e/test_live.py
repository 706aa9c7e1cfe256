"""A real host and a real client, watched through the API: figures, events, metrics, settings, and no secret."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from punktfunk.mgmt.metrics import FAMILIES, PREFIX
from tests.support.waiting import PATIENCE_S, eventually

REPOSITORY = Path(__file__).parents[2]
PUNKTFUNK = [sys.executable, "-m", "punktfunk"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
T = TypeVar("T")


class Watched:
    """``punktfunk serve`` with a test card on loopback, and a program that has its token."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        serve = "serve --bind 127.0.0.1 --native-port 0 --mgmt-bind 127.0.0.1:0 --no-mdns --source testcard"
        where = ("--mode", "640x360@60", "--state-dir", str(folder))
        self.process = subprocess.Popen(
            [*PUNKTFUNK, *serve.split(), *where, *options],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.out = self.errors = ""
        for line in self.process.stdout:
            self.out += line
            if line.startswith("next"):
                break
        self.address = self.find(r"native host  (\S+)")
        self.url = (folder / "mgmt-url").read_text().strip()
        self.token = (folder / "mgmt-token").read_text().strip()
        self.api = httpx.Client(
            base_url=self.url,
            trust_env=False,
            timeout=PATIENCE_S,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.out)
        assert found is not None, f"no {pattern!r} in {self.out!r}"
        return found[1]

    def get(self, path: str) -> Any:
        answer = self.api.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PUNKTFUNK, *arguments, "--state-dir", str(self.folder.parent / "laptop")],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            out, self.errors = self.process.communicate(timeout=PATIENCE_S)
            self.out += out
        self.api.close()
        return self.process.returncode


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One host that a client has paired with, by a PIN from the API."""
    folder = tmp_path_factory.mktemp("watched")
    host = Watched(folder / "host")
    yield host
    host.end()


@pytest.fixture(scope="module")
def pin(watched: Watched) -> str:
    """The PIN that a client has paired with."""
    return pair(watched)


def pair(watched: Watched) -> str:
    """Pair a client; return the PIN that it did it with."""
    pin: str = watched.api.post("/api/v1/native/pair/arm", json={}).json()["pin"]
    pairing = watched.client("pair", watched.address, "--pin", pin, "--name", "Anna's laptop")
    out, _ = pairing.communicate(timeout=60)
    assert pairing.returncode == 0, out
    return pin


def until(holds: Callable[[], T]) -> T:
    return eventually(holds, "what the API is to show")


def follow(watched: Watched, events: list[tuple[str, Any]]) -> None:
    """Collect events until the host ends."""

    def read() -> None:
        name = ""
        with watched.api.stream("GET", "/api/v1/events", timeout=60) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((name, json.loads(line.removeprefix("data: "))))

    def quietly() -> None:
        try:
            read()
        except httpx.HTTPError:
            events.append(("cut off", None))

    threading.Thread(target=quietly, daemon=True).start()


def samples(watched: Watched) -> dict[tuple[str, str], float]:
    """All samples of ``/metrics`` by name and stage or event; parsed as Prometheus would."""
    answer = watched.api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            assert sample.name.removeprefix(PREFIX) in FAMILIES
            assert family.documentation
            known = FAMILIES[sample.name.removeprefix(PREFIX)]
            assert family.type == known.kind
            assert set(sample.labels) == set(known.labels)
            key = " ".join(sample.labels[name] for name in known.labels if name not in ("session", "client"))
            found[sample.name, key] = sample.value
    return found


def seen_at_once(watched: Watched) -> tuple[dict[str, Any], dict[tuple[str, str], float]] | None:
    """Return the one session and all samples where both are of the same second of its stream."""
    [before], during, [after] = watched.get("/sessions"), samples(watched), watched.get("/sessions")
    return (before, during) if before["rates"] == after["rates"] and before["rates"] else None


def seconds_told(events: list[tuple[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return what the events say of a session after each second of its stream."""
    told: list[dict[str, Any]] = []
    for name, data in list(events):
        of_it = name == "session" and data["number"] == number and data["rates"]
        if of_it and (not told or data["ledger"] != told[-1]["ledger"]):
            told.append(data)
    return told


def rates_are_what_the_ledger_grew_by(seconds: list[dict[str, Any]]) -> None:
    """Hold both against each other, however many frames a machine has time for: what left tells how long it took."""
    lasted_s = 0.0
    for before, after in itertools.pairwise(seconds):
        frames, size = (
            after["ledger"][name] - before["ledger"][name] for name in ("frames_sent", "bytes_sent")
        )
        second_s = size * 8 / (after["rates"]["wire_kbps"] * 1000)
        assert abs(after["rates"]["fps"] * second_s - frames) <= 2, (before, after)
        lasted_s += second_s
    assert lasted_s == pytest.approx(seconds[-1]["seconds"] - seconds[0]["seconds"], rel=0.5)


def test_a_session_is_seen_from_its_first_second_to_its_end(watched: Watched, pin: str) -> None:
    events: list[tuple[str, Any]] = []
    follow(watched, events)
    until(lambda: events)
    before = samples(watched)
    client = watched.client("connect", watched.address)
    until(lambda: [one for one in watched.get("/sessions") if one["rates"].get("fps", 0) > 0])
    asked_at = time.time()
    [session] = watched.get("/sessions")
    told_at = time.time()

    assert (session["state"], session["source"], session["codec"]) == ("streaming", "testcard", "h264")
    assert session["client"]["address"] == "127.0.0.1"
    assert session["client"]["name"] == "Anna's laptop"
    assert session["client"]["fingerprint"] in {one["fingerprint"] for one in watched.get("/native/clients")}
    assert session["mode"] == {"width": 640, "height": 360, "refresh_hz": 60}
    assert session["encoder"]
    # It has lasted until it was asked for; the duration is of tenths.
    assert asked_at - 0.2 < session["began_unix_ms"] / 1000 + session["seconds"] < told_at + 0.2
    assert session["rates"]["fps"] < 65
    assert 0 < session["rates"]["media_kbps"] < session["rates"]["wire_kbps"] < 30_000
    assert session["fec"]["scheme"] == "gf16"
    names = [stage["name"] for stage in session["stages"]]
    assert names == ["convert", "encode wait", "encode", "seal", "queue", "send"]
    for stage in session["stages"]:
        assert 0 <= stage["p50_us"] <= stage["p95_us"] <= stage["max_us"]
        # No frame spends longer in a stage than on its whole way, so no order statistic does.
        assert all(stage[name] <= session["total"][name] for name in ("p50_us", "p95_us", "max_us"))
    assert session["total"]["max_us"] <= sum(stage["max_us"] for stage in session["stages"]) + len(names)
    # Frames are encoded one after the other, and half of a second's take the median or longer: all in µs, not ns.
    [encode] = [stage for stage in session["stages"] if stage["name"] == "encode"]
    assert session["rates"]["fps"] / 2 * encode["p50_us"] < 2_000_000
    assert session["ledger"]["packets_sealed"] >= session["ledger"]["packets_sent"] > 0
    until(lambda: watched.get("/sessions")[0]["loss"]["reports"] >= 2)
    assert watched.get("/sessions")[0]["loss"]["permille"] is not None
    until(lambda: len(seconds_told(events, session["number"])) >= 3)
    rates_are_what_the_ledger_grew_by(seconds_told(events, session["number"]))

    shown, during = until(lambda: seen_at_once(watched))
    assert during[f"{PREFIX}sessions", ""] == 1
    assert during[f"{PREFIX}session_frames_per_second", ""] == shown["rates"]["fps"]
    spans = {stage["name"].replace(" ", "_"): stage for stage in shown["stages"]} | {"total": shown["total"]}
    for name, span in spans.items():
        for quantile, value in (("0.5", span["p50_us"]), ("0.95", span["p95_us"]), ("1", span["max_us"])):
            assert during[f"{PREFIX}session_stage_seconds", f"{name} {quantile}"] == value / 1e6, name
    assert during[f"{PREFIX}frames_sent_total", ""] > before[f"{PREFIX}frames_sent_total", ""]

    assert watched.api.delete(f"/api/v1/sessions/{session['number']}").status_code == 204
    assert "ended at the host" in client.communicate(timeout=PATIENCE_S)[0]
    [end] = until(lambda: [data for name, data in events if name == "session_ended"])
    assert watched.api.delete(f"/api/v1/sessions/{session['number']}").status_code == 404
    assert watched.get("/sessions") == []

    told = [data for name, data in events if name == "session" and data["number"] == session["number"]]
    assert told[0]["state"] == "starting"
    # An absent figure is absent: a session that has not streamed has neither stages nor rates.
    assert (told[0]["stages"], told[0]["rates"], told[0]["total"]) == ([], {}, None)
    assert told[-1]["state"] == "streaming"
    assert (end["number"], end["failed"]) == (session["number"], False)
    assert "ended at the host" in end["reason"]
    assert end["ledger"]["frames_submitted"] >= session["ledger"]["frames_submitted"]
    assert events[0][0] == "state"
    assert any(name == "log" and data["event"] == "stream begins" for name, data in events)

    after = samples(watched)
    assert after[f"{PREFIX}sessions", ""] == 0
    assert not [name for name, _ in after if name.startswith(f"{PREFIX}session_")]
    assert after[f"{PREFIX}frames_sent_total", ""] >= during[f"{PREFIX}frames_sent_total", ""]
    assert after[f"{PREFIX}pairing_events_total", "paired"] == 1


def test_a_setting_takes_hold_of_the_session_that_runs(watched: Watched, pin: str) -> None:
    client = watched.client("connect", watched.address)
    until(lambda: [one for one in watched.get("/sessions") if one["rates"].get("fps", 0) > 0])
    changed = watched.api.patch(
        "/api/v1/settings", json={"bitrate": 2500, "adaptive_fec": False, "fec_percent": 42}
    )
    assert changed.status_code == 200
    assert changed.json() == watched.get("/settings")

    def followed() -> Any:
        [one] = watched.get("/sessions")
        return one["fec"] == {"scheme": "gf16", "percent": 42, "adaptive": False} and (
            one["bitrate_kbps"] == 2500 and one["rates"]["media_kbps"] < 3200
        )

    until(followed)
    refused = watched.api.patch("/api/v1/settings", json={"bitrate": 9000, "max_sessions": 0})
    assert refused.status_code == 422
    assert "max_sessions" in refused.json()["error"]
    assert watched.get("/settings") == changed.json()
    watched.api.delete(f"/api/v1/sessions/{watched.get('/sessions')[0]['number']}")
    assert "ended at the host" in client.communicate(timeout=PATIENCE_S)[0]


def _says(pin: str, text: str) -> bool:
    """Return whether it stands there: four digits as a word of their own, and no part of a port or a time."""
    return bool(re.search(rf"(?<![0-9.:]){pin}(?![0-9.])", text))


def test_no_secret_is_in_any_log(tmp_path: Path) -> None:
    """Promise P13, after a pairing and a session, on a host of its own: it is ended to read all that it wrote."""
    watched = Watched(tmp_path / "host")
    pin = pair(watched)
    # Before there are counts of a stream, of which one may be the same number by chance.
    assert not _says(pin, json.dumps(watched.get("/logs?limit=2000")))
    client = watched.client("connect", watched.address)
    [session] = until(lambda: [one for one in watched.get("/sessions") if one["state"] == "streaming"])
    watched.api.delete(f"/api/v1/sessions/{session['number']}")
    assert "ended at the host" in client.communicate(timeout=PATIENCE_S)[0]
    until(lambda: "session over" in watched.api.get("/api/v1/logs.txt").text)
    watched.api.patch("/api/v1/settings", json={"log_level": "debug"})
    ticket = watched.api.post("/console/ticket").json()["ticket"]
    assert watched.api.get("/console/me", headers={"Cookie": "punktfunk=abc"}).status_code == 200
    kept = json.dumps(watched.get("/logs?limit=2000")) + watched.api.get("/api/v1/logs.txt").text
    redacted = watched.api.get("/api/v1/logs.txt?redact=addresses").text
    assert watched.api.get("/api/v1/logs.txt").headers["content-disposition"].startswith("attachment")
    for event in ("stream begins", "paired", "settings changed", "session over"):
        assert event in kept
    paired = watched.get("/native/clients")[0]
    for secret in ("127.0.0.1", paired["fingerprint"], paired["name"]):
        assert secret in kept
        assert secret not in redacted
    assert watched.end() == 0
    everything = kept + watched.errors + watched.out
    key = (watched.folder / "key.pem").read_text().splitlines()
    for secret in (watched.token, ticket, *key[1:-1]):
        assert secret not in everything
    assert not _says(pin, re.sub(r'("\w+": |\b\w+=)\d+\b', "", kept + watched.errors)), "counts apart"


def test_settings_survive_a_restart_and_a_flag_wins(tmp_path: Path) -> None:
    first = Watched(tmp_path / "host")
    assert first.api.patch("/api/v1/settings", json={"fec_percent": 33, "codec": "h264"}).status_code == 200
    assert first.end() == 0
    second = Watched(tmp_path / "host", "--fec", "11")
    rows = {row["name"]: row for row in second.get("/settings")}
    try:
        assert (rows["fec_percent"]["value"], rows["fec_percent"]["fixed_by"]) == (11, "--fec")
        assert (rows["codec"]["value"], rows["codec"]["fixed_by"]) == ("h264", None)
        assert rows["announce"]["fixed_by"] == "--no-mdns"
        refused = second.api.patch("/api/v1/settings", json={"fec_percent": 20})
        assert refused.status_code == 422
        assert "--fec" in refused.json()["error"]
        assert "FEC gf16 11 %" in second.out
        readiness = second.get("/readiness")
    finally:
        second.end()
    assert (readiness["ready"], readiness["pairing_required"]) == (False, True)
    assert "no device is paired" in readiness["headline"]
    checks = {check["name"]: check for check in readiness["checks"]}
    assert not checks["pairing"]["ok"]
    assert checks["pairing"]["fix"]
    assert checks["encoder"]["ok"]
    assert second.address in readiness["addresses"]
    (tmp_path / "host" / "settings.json").write_text("{")
    damaged = subprocess.run(
        [
            *PUNKTFUNK,
            "serve",
            "--state-dir",
            str(tmp_path / "host"),
            "--source",
            "synthetic",
            "--no-mdns",
            "--no-gamestream",
        ],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert damaged.returncode == 5
    assert "damaged" in damaged.stderr
    assert list((tmp_path / "host").glob("settings.json.corrupt-*"))
