"""What a person is told to open: the firewall that runs, and the command for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.gamestream.ports import Ports
from punktfunk.host.firewall import Firewall, active_firewall, opening, ranges

PORTS = Ports()


@pytest.mark.parametrize(
    ("firewall", "command"),
    [
        ("ufw", "ufw allow 47984,47989,48010/tcp && ufw allow 9777,47998:48000/udp"),
        (
            "firewalld",
            "firewall-cmd --add-port=47984/tcp --add-port=47989/tcp --add-port=48010/tcp "
            "--add-port=9777/udp --add-port=47998-48000/udp",
        ),
        (
            "nftables",
            "nft add rule inet filter input tcp dport '{ 47984, 47989, 48010 }' accept && "
            "nft add rule inet filter input udp dport '{ 9777, 47998-48000 }' accept",
        ),
    ],
)
def test_the_command_opens_every_port_and_no_other(firewall: Firewall, command: str) -> None:
    assert opening(firewall, PORTS.tcp, (9777, *PORTS.udp)) == command


def test_for_good_firewalld_is_told_twice_and_the_others_once() -> None:
    assert opening("firewalld", (), (9777,), lasting=True) == (
        "firewall-cmd --permanent --add-port=9777/udp && firewall-cmd --reload"
    )
    for firewall in ("ufw", "nftables"):
        assert opening(firewall, (), (9777,), lasting=True) == opening(firewall, (), (9777,))


def test_a_kind_without_ports_is_left_out() -> None:
    assert opening("ufw", (), (9777,)) == "ufw allow 9777/udp"


def test_neighbours_are_a_range_whatever_their_order() -> None:
    assert ranges((5, 3, 4, 9, 7, 8, 1, 4)) == ["1", "3-5", "7-9"]


def test_a_firewall_is_seen_by_its_settings_or_its_process(tmp_path: Path) -> None:
    settings, processes = tmp_path / "ufw.conf", tmp_path / "proc"
    (processes / "12").mkdir(parents=True)
    (processes / "12" / "comm").write_text("firewalld-not\n")
    assert active_firewall(settings, processes) is None
    settings.write_text("# ufw\nENABLED=no\nLOGLEVEL=low\n")
    assert active_firewall(settings, processes) is None
    (processes / "12" / "comm").write_text("firewalld\n")
    assert active_firewall(settings, processes) == "firewalld"
    settings.write_text("# ufw\nENABLED=yes\nLOGLEVEL=low\n")
    assert active_firewall(settings, processes) == "ufw"


def test_a_comment_or_a_process_whose_name_is_no_text_hides_nothing(tmp_path: Path) -> None:
    settings, processes = tmp_path / "ufw.conf", tmp_path / "proc"
    for number, name in ((11, b"gr\xc3\n"), (12, b"firewalld\n"), (13, b"\xff\n")):
        (processes / str(number)).mkdir(parents=True)
        (processes / str(number) / "comm").write_bytes(name)
    assert active_firewall(settings, processes) == "firewalld"
    settings.write_bytes(b"# f\xfcr zu Hause\nENABLED=yes\n")
    assert active_firewall(settings, processes) == "ufw"
