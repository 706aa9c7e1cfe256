"""A whole live session: runner, host, client, pump, capture; and a sabotaged link that is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.network import leftovers
from harness.network.registry import FOLDER_VARIABLE
from harness.run.sabotage import VARIABLE as SABOTAGE_VARIABLE
from tests.support.proven import once_proven

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

SCENARIO = """\
name: live
seed: 3
stream: {fec: 20 %}
media: {source: testcard, mode: 640x360@30, codec: h264, bitrate: 2 Mbit/s, duration: 4 s}
link:
  backend: tun
  capture: true
  down: {delay: 5 ms, loss: 4 %}
  up: {delay: 5 ms}
events:
  - {at: 2 s, bitrate: 1 Mbit/s}
  - {at: 2 s, down: {loss: 8 %}}
expect:
  - strip_agreement == 100 %
"""

DAMAGED = """\
name: damaged
seed: 5
stream: {fec: 50 %}
media: {source: synthetic, mode: 640x360@60, bitrate: 4 Mbit/s, duration: 2 s}
link:
  backend: tun
  down: {delay: 2 ms, corrupt: {rate: 5 %, mode: checksum}}
"""


Ran = tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]


NOTHING_YET = "nothing came before it"


def run(
    scenario: str,
    folder: Path,
    sabotage: str = "",
    charts: str = "--no-charts",
    *,
    meant: str = "",
    into: str = "",
) -> Ran:
    """Run a scenario of one case; return the process, the case's folder and its result.

    A machine without time for its proof is no reason; a refusal that is ``meant`` is what the test is about. What
    happens ``into`` a stream is given a stream: a machine without time has none yet.
    """

    def reason(ran: Ran) -> str:
        case = ran[2]
        if into and case["metrics"] and not case["metrics"]["frames_complete"]["value"]:
            return NOTHING_YET
        return str(case.get("reason"))

    return once_proven(
        lambda place: run_once(scenario + into, place, sabotage, charts),
        reason,
        folder,
        meant=meant,
        late=NOTHING_YET if into else "",
    )


def run_once(scenario: str, folder: Path, sabotage: str = "", charts: str = "--no-charts") -> Ran:
    """Run a scenario of one case, whatever its link is like."""
    file = folder / "live.yaml"
    file.write_text(scenario)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), charts, "--out", str(folder / "out")],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, SABOTAGE_VARIABLE: sabotage, FOLDER_VARIABLE: str(folder / "registry")},
        check=False,
    )
    results = list((folder / "out").glob("*/*/case.json"))
    assert len(results) == 1, done.stdout + done.stderr
    return done, results[0].parent, json.loads(results[0].read_text())


def test_a_session_over_a_changing_link_balances_and_leaves_what_it_promises(
    tmp_path: Path, need_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tshark = need_tool("tshark")
    done, folder, case = run(SCENARIO, tmp_path, charts="--charts")
    assert done.returncode == 0, done.stdout + done.stderr + str(case.get("reason"))
    ledger = case["ledgers"]["host_to_client"]
    assert ledger["balances"]
    assert not any(ledger["balances"].values())
    counts = ledger["counts"]
    assert counts["dropped_loss"] > 0
    assert counts["other_in"] > 0, "the control connection shares the link"
    assert counts["rate_kbps"] == 1000, "the event changed the bit rate"
    for name in ("host.log", "client.log", "frames.parquet", "link.npz", "pump.json", "client.pcapng"):
        assert (folder / name).stat().st_size > 0, name
    # The capture, which counts for itself, has the same packets as the ledger.
    [second] = [check for check in case["checks"] if check["name"] == "the capture agrees with the ledger"]
    assert second["passed"]
    # Seven; on a machine that gave the client no time its socket had no room, and fewer are known.
    assert int(second["measured"].removesuffix(" counts")) >= 3, second
    watched = case["link"]["watched"]
    assert watched["off"] == []
    assert watched["packets"] > 0.8 * counts["link_in"], "the link was looked at while the session ran"
    assert case["machine"]["seconds"] > 4
    assert case["machine"]["timers"] > 0
    assert case["machine"]["own"] > 0
    drawn = (folder.parent / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(Latency|Stages of a frame|Over time)</h2>", drawn) == [
        "Latency",
        "Stages of a frame",
        "Over time",
    ]

    import numpy as np

    log = np.load(folder / "link.npz")
    down = log["direction"] == 0
    assert int(down.sum()) == counts["link_in"]
    lost = log["verdict"][down] == 1
    assert int(lost.sum()) == counts["dropped_loss"]
    half = log["in_ns"][down] < np.median(log["in_ns"][down])
    assert lost[~half].mean() > lost[half].mean() * 0.9, "the second half loses 8 %, the first 4 %"

    from scapy.layers.inet import UDP
    from scapy.utils import PcapNgReader

    with PcapNgReader(str(folder / "client.pcapng")) as packets:
        sizes = [len(packet[UDP].payload) for packet in packets if UDP in packet]
    # 8 sequence, 40 header, 1200 shard, 16 tag: no train is left whole
    assert max(sizes) <= 1264
    listed = subprocess.run(
        [
            tshark,
            "-r",
            str(folder / "client.pcapng"),
            "-Y",
            "udp && !icmp",
            "-T",
            "fields",
            "-e",
            "udp.length",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert len(listed) == len(sizes)

    monkeypatch.setenv(FOLDER_VARIABLE, str(folder.parents[2] / "registry"))
    assert leftovers.find() == []


@pytest.mark.measures  # the delays of a busy path excuse those of the link
@pytest.mark.parametrize(
    ("sabotage", "reason"), [("half-loss", "loss: asked 4.000%"), ("wrong-delay", "delay: asked")]
)
def test_a_run_on_a_sabotaged_link_exits_5_with_the_reason(
    sabotage: str, reason: str, tmp_path: Path
) -> None:
    done, _, case = run_once(SCENARIO, tmp_path, sabotage)
    assert done.returncode == 5, done.stdout + done.stderr
    assert case["status"] == "fault"
    assert reason in str(case["reason"])
    assert case["metrics"] == {}, "nothing is reported on a link that is not as asked"


HOW_TO = (Path(__file__).parents[2] / "docs/how-to/believe-a-live-run.md").read_text(encoding="utf-8")


def test_a_link_that_is_sabotaged_in_mid_run_exits_5_with_the_window(tmp_path: Path) -> None:
    """The scenario and the command of the how-to. The session ends when that is found out, after five seconds; a busy
    machine has twenty for it."""
    scenario = re.search(r"`sabotaged.yaml`:\n\n```yaml\n(.*?)```", HOW_TO, re.S)
    command = re.search(rf"^{SABOTAGE_VARIABLE}=(\S+) punktfunk-lab run sabotaged.yaml$", HOW_TO, re.M)
    assert scenario
    assert command
    done, folder, case = run(scenario[1], tmp_path, command[1], meant="did not stay as asked")
    assert done.returncode == 5, done.stdout + done.stderr
    assert case["status"] == "fault"
    found = re.search(r"down: loss from (\d+)\.\d s to (\d+)\.\d s: asked ", str(case["reason"]))
    assert found, case["reason"]
    # Two seconds by the runner's clock, which may have waited for a processor; the pump noted when it was.
    events = [json.loads(line) for line in (folder / "pump.events.jsonl").read_text().splitlines()]
    began = next(event["begin_ns"] for event in events if event["event"] == "watching")
    changed_s = next(event["applied_ns"][0] - began for event in events if event["event"] == "set") / 1e9
    assert changed_s >= 2
    # The likeliest beginning is told, which chance moves by a second or two.
    assert abs(int(found[1]) - int(changed_s)) <= 2
    assert case["metrics"] == {}, "nothing is reported on a link that did not stay as asked"
    kept = json.loads((folder / "link.windows.json").read_text())
    assert "loss" in [off["series"] for off in kept["off"]]
    assert kept["each"][0]["packets"] > 0


def test_a_client_that_dies_on_purpose_leaves_a_result(tmp_path: Path) -> None:
    scenario = SCENARIO.partition("events:")[0] + "events:\n  - {at: 1500 ms, kill: client}\n"
    done, folder, case = run(scenario, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + str(case.get("reason"))
    assert (folder / "host" / "stats.json").exists()
    assert case["metrics"]["frames_submitted"]["value"] > 0


LONG = DAMAGED.partition("  down:")[0].replace("duration: 2 s", "duration: 6 s")
"""Frames flow long before its second second is over: times begin when both ends have agreed on the stream."""
UNKNOWABLE = ("packets_lost", "frames_unrecoverable", "frames_expired")
"""Figures that only a client which has heard the end of its stream can give."""


def test_a_host_that_dies_on_purpose_leaves_a_result_without_what_its_client_cannot_know(
    tmp_path: Path,
) -> None:
    done, folder, case = run(LONG, tmp_path, into="events:\n  - {at: 2 s, kill: host}\n")
    assert done.returncode == 0, done.stdout + done.stderr + str(case.get("reason"))
    stats = json.loads((folder / "client" / "stats.json").read_text())
    assert stats["end"] == "host gone"
    assert case["metrics"]["frames_complete"]["value"] > 0
    for name in UNKNOWABLE:
        assert case["metrics"][name]["value"] is None, name


def test_a_session_that_an_outage_ended_failed_and_has_no_figures_of_what_nobody_knows(
    tmp_path: Path,
) -> None:
    outage = "events:\n  - {at: 2 s, down: {loss: 100 %}}\n  - {at: 2 s, up: {loss: 100 %}}\n"
    done, _, case = run(LONG, tmp_path, into=outage)
    assert done.returncode == 1, done.stdout + done.stderr + str(case.get("reason"))
    assert case["status"] == "failed"
    assert str(case["reason"]).startswith("the host fell silent; the last packet came at ")
    metrics = case["metrics"]
    # Both ends are this machine's: what was sent and did not come is known from the other one.
    assert metrics["frames_lost"]["value"] > 0
    assert metrics["frames_submitted"]["value"] > metrics["frames_complete"]["value"] > 0
    for name in UNKNOWABLE:
        assert metrics[name]["value"] is None, name


def test_packets_that_fail_their_checksum_are_counted_once(tmp_path: Path) -> None:
    done, _, case = run(DAMAGED, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + str(case.get("reason"))
    ledger = case["ledgers"]["host_to_client"]
    assert not any(ledger["balances"].values()), ledger["balances"]
    assert ledger["counts"]["checksum_dropped"] > 0
    assert ledger["counts"]["kernel_dropped"] == 0
