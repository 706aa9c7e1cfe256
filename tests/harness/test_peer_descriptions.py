"""Peer descriptions: read with positions, refused with a hint, chosen by a scenario, the same losses for all."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from harness.docs import peer_page
from harness.peers.loading import live_peers
from harness.run import interop
from harness.run.case import replay_command
from harness.scenario.expand import expand
from harness.scenario.foreign import PLACEHOLDERS, PeerDescription, fill, load
from harness.scenario.model import Session
from punktfunk.errors import CapabilityError, ScenarioError, UsageError

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "scenarios" / "peers"
SHIPPED = sorted(PEERS.glob("*.yaml"))
CLIENT = """\
name: my client
role: client
command: [my-client, "{address}:{port}"]
ready: {packets: 1}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_description_that_ships_is_read_and_satisfies_the_schema(file: Path) -> None:
    assert file.read_text(encoding="utf-8").splitlines()[0] == peer_page.FIRST_LINE
    jsonschema.Draft202012Validator(json.loads(peer_page.schema_text())).validate(
        YAML(typ="safe", pure=True).load(file)
    )
    description = load(file)
    assert description.about, "whoever lacks the program is told where it comes from"
    assert description.placeholders() <= PLACEHOLDERS.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{port}", "{prot}"), "did you mean 'port'?"),
        (("{port}", "{port!r}"), "is no placeholder"),
        (("{port}", "{address.__class__}"), "is no placeholder"),
        (("{port}", "{port"), "a brace itself is written twice"),
        (("{packets: 1}", "{packets: 1, line: x}"), "give exactly one of line, listens and packets"),
        (("{packets: 1}", "{listens: udp}"), "a client does not listen"),
        (("{packets: 1}", "{line: '('}"), "is no regular expression"),
        (("{packets: 1}", "{packets: 1, within: 3 min}"), "at most 2 min"),
        (("{packets: 1}", "{packets: 1, within: 0 s}"), "more than 0 s"),
        (("[my-client", '["{state}/run"'), "a program is named by its name or path"),
        (("role: client", "role: client\nports: [1]"), "a client has no ports:"),
        (("role: client", "role: client\nmarkers: true"), "a client has no markers:"),
        (("role: client", "role: client\nsynthetic: true"), "a client has no synthetic:"),
        (("role: client", "role: client\npairing: {enter: [x]}"), "a client has pair:"),
        (("role: client", "role: client\nstatistics: {line: '(?P<gibs>x)'}"), "unknown group 'gibs'"),
        (("role: client", "role: client\nstatistics: {line: x}"), "no named group"),
        (("role: client", "role: client\nwhenever: {}"), "did you mean 'when'?"),
        (("role: client", "role: client\nprotocols: [gamestrem]"), "did you mean 'gamestream'?"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in CLIENT
    path = write(tmp_path / "peer.yaml", CLIENT.replace(*change))
    with pytest.raises(ScenarioError) as refused:
        load(path)
    assert said in refused.value.cause
    assert f"{path}:" in refused.value.cause


def test_placeholders_are_filled_and_braces_written_twice_stay() -> None:
    assert fill(["{address}:{port}", "{{x}}"], {"address": "10.0.0.1", "port": 9}) == ["10.0.0.1:9", "{x}"]
    with pytest.raises(ScenarioError, match=r"the placeholder \{pin\} has no value here"):
        fill(["{pin}"], {})


def test_a_scenario_names_a_peer_beside_it_by_its_name_or_its_path(tmp_path: Path) -> None:
    write(tmp_path / "peers" / "mine.yaml", CLIENT)
    write(tmp_path / "other.yaml", CLIENT.replace("my client", "other"))
    scenario = write(
        tmp_path / "s.yaml",
        'name: s\nfor: {client: [ours, mine, other.yaml]}\nclient: "${client}"\nlink: {backend: tun}\n',
    )
    cases = expand(scenario).cases
    assert [case.id for case in cases] == ["s.client=ours", "s.client=mine", "s.client=other"]
    assert [isinstance(c.spec.client, PeerDescription) and c.spec.client.name for c in cases] == [
        False,
        "my client",
        "other",
    ]
    assert len({case.seed for case in cases}) == 1, "all of them meet the same losses"
    assert cases[1].spec.foreign.keys() == {"client"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("client: mien", "did you mean 'mine'?"),
        ("client: nowhere.yaml", "there is no peer 'nowhere.yaml'"),
        ("client: wrong", "wrong.yaml:"),
        ("host: mine", "my client is a client"),
        ("protocol: gamestream\nclient: mine", "my client does not speak gamestream"),
        ("client: 7", "a peer is named by a text"),
        ("client: mine\nlink: {backend: sim}", "a program runs over a real link alone"),
        ("pairing: prove\nlink: {backend: sim}", "pairing: wants real programs"),
    ],
)
def test_a_peer_that_cannot_stand_there_is_refused_with_its_position(
    tmp_path: Path, line: str, said: str
) -> None:
    write(tmp_path / "peers" / "mine.yaml", CLIENT)
    write(tmp_path / "peers" / "wrong.yaml", CLIENT + "nonsense: 1\n")
    scenario = write(tmp_path / "s.yaml", line + "\n")
    with pytest.raises(ScenarioError) as refused:
        expand(scenario)
    assert said in refused.value.cause
    assert f"{scenario}:" in refused.value.cause


def test_ours_meets_no_stranger_that_has_to_pair(tmp_path: Path) -> None:
    mine = load(write(tmp_path / "mine.yaml", CLIENT))
    both = load(write(tmp_path / "both.yaml", CLIENT + "protocols: [gamestream]\n"))
    host, client = live_peers(Session(client=mine))
    assert host.ports
    assert client is not None
    for spec in (
        Session(client=mine, pairing="pin"),
        Session(protocol="gamestream", client=both),
        Session(pairing="prove"),
    ):
        with pytest.raises(CapabilityError, match="'ours'"):
            live_peers(spec)
    live_peers(Session(protocol="gamestream", pairing="pin"))


def test_axes_of_the_command_line_stand_in_for_those_of_the_file(tmp_path: Path) -> None:
    scenario = write(
        tmp_path / "s.yaml", 'name: s\nfor: {loss: [0 %, 2 %]}\nlink: {down: {loss: "${loss}"}}\n'
    )
    [case] = expand(scenario, axes={"loss": ("8 %",)}).cases
    assert case.id == "s.loss=8"
    assert case.seed == expand(scenario, axes={"loss": ("5 %", "8 %")}).cases[1].seed
    assert "--axis 'loss=8 %'" in replay_command(case, "")
    with pytest.raises(UsageError, match="has no axis 'lost'") as refused:
        expand(scenario, axes={"lost": ("1 %",)})
    assert refused.value.hint == "did you mean 'loss'?"


class TestMatrix:
    FILES = (ROOT / "scenarios" / "interop.yaml", ROOT / "scenarios" / "interop-gamestream.yaml")

    def plan(
        self, *, hosts: tuple[str, ...] = (), clients: tuple[str, ...] = (), tests: tuple[str, ...] = ()
    ):  # type: ignore[no-untyped-def]
        return interop.plan(self.FILES, hosts=hosts, clients=clients, tests=tests)

    def test_it_has_every_host_with_every_client_of_its_wire(self) -> None:
        found = self.plan(tests=("clean",))
        assert [len(cases) for _, cases in found.values()] == [4, 4]
        assert all(not axes for axes, _ in found.values())

    def test_a_peer_meets_those_alone_that_speak_its_wire(self) -> None:
        found = self.plan(clients=("reference-probe", "moonlight-qt"), tests=("clean", "loss-8"))
        native, gamestream = found.values()
        assert native[0] == {"client": ("reference-probe",)}
        assert native[1] == tuple(
            f"interop.{test}.host={host},client=reference-probe"
            for test in ("clean", "loss-8")
            for host in ("ours", "punktfunk-serve")
        )
        assert {case.rpartition("=")[2] for case in gamestream[1]} == {"moonlight-qt"}

    def test_a_wire_that_nobody_speaks_is_left_out(self) -> None:
        assert list(self.plan(hosts=("reference-host",), tests=("clean",))) == [self.FILES[0]]
        with pytest.raises(UsageError, match="speak a wire of these"):
            self.plan(hosts=("reference-host",), clients=("moonlight-qt",))

    def test_what_is_misspelt_is_told(self, tmp_path: Path) -> None:
        for arguments, said in (
            ({"hosts": ("punktfunk-srve",)}, "did you mean 'punktfunk-serve'?"),
            ({"hosts": ("punktfunk-connect",)}, "name it by --client"),
            ({"tests": ("loss2",)}, "did you mean 'loss-2'?"),
        ):
            with pytest.raises(UsageError) as refused:
                self.plan(**arguments)
            assert refused.value.hint == said
        plain = write(tmp_path / "plain.yaml", "media: {frames: 3}\n")
        with pytest.raises(UsageError, match="has no axes host and client"):
            interop.plan((plain,), hosts=(), clients=(), tests=())

    def test_a_path_is_the_command_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "mine.yaml", CLIENT)
        monkeypatch.chdir(tmp_path)
        [(axes, cases)] = self.plan(clients=("mine.yaml",), hosts=("ours",), tests=("clean",)).values()
        assert axes == {"host": ("ours",), "client": (str(tmp_path / "mine.yaml"),)}
        assert cases == ("interop.clean.host=ours,client=mine",)
