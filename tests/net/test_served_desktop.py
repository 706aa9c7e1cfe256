"""A served desktop on a link that loses packets: no wrong picture is shown, and the picture comes back."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.network.namespaces import Namespace
from harness.network.topology import add_address, open_tun, segment_address, topology
from harness.peers.served_desktop import ServedDesktop, compare, pictures
from punktfunk.core import _core
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

SEED = 20_261_122
MODE = Mode(960, 540, 30)
FRAMES = 120
"""The stream ends with so many, however long a busy machine takes for them."""
LOSS = {"delay_us": 2000, "loss": {"kind": "independent", "p": 0.02}}


@pytest.fixture
def sides(
    need_tool: Callable[..., str], lack: Callable[[str], None]
) -> Iterator[tuple[Namespace, Namespace, str]]:
    """Return the namespaces of host and client, joined by a link that loses 2 %, and the host's address."""
    need_tool("sway")
    if importlib.util.find_spec("pywayland") is None:
        lack("pywayland (pip install 'punktfunk[desktop]')")
    with topology("desktop") as made:
        host, client = made.namespace("host"), made.namespace("client")
        descriptors = open_tun(host, "tun0"), open_tun(client, "tun0")
        one, two = segment_address(1, 1), segment_address(1, 2)
        add_address(host, "tun0", one)
        add_address(client, "tun0", two)
        pump = _core.TunPump(*descriptors, json.dumps(LOSS), json.dumps({"delay_us": 2000}), SEED)
        try:
            yield host, client, one.ipv4
        finally:
            pump.stop()


@pytest.mark.measures  # the stream has so many frames, and a card that a busy machine is slow to show misses most
@pytest.mark.parametrize("fec", [20, 0])
def test_at_two_percent_of_loss_no_picture_is_wrong_and_recovery_is_measured(
    fec: int, sides: tuple[Namespace, Namespace, str], tmp_path: Path
) -> None:
    inside, outside, address = sides
    options = ("--fec", str(fec), "--no-adaptive-fec", "--bitrate", "6 Mbit/s", "--frames", str(FRAMES))
    with ServedDesktop(tmp_path, *options, bind=address, namespace=inside) as host:
        compare(host, tmp_path, MODE, PATIENCE_S, every=5, namespace=outside)
        host.end()
    seen = pictures(host.left, tmp_path / "client")
    assert (seen.unreadable, seen.wrong) == (0, 0), f"seed {SEED}"
    assert len(seen.captured_ns) > FRAMES / 2, "what shows the card, from its first picture on"
    assert (seen.decode_end_ns >= 0).sum() > 20
    compared = seen.ssim[~np.isnan(seen.ssim)]
    assert len(compared) >= 3
    assert compared.min() > 0.6, "a picture that is not the card"
    recovery, stood = seen.freezes()
    if fec:
        # 0.04 are expected (of 16 data and 4 recovery packets five have to be lost), and 31 without FEC.
        assert len(recovery) <= 4, "FEC repairs nearly all of this"
    else:
        assert len(recovery) > 0, "nothing was lost, or nothing came back"
        assert (recovery > 0).all()
        assert (stood > 1000 / MODE.refresh_hz).all()
        assert host.stats().counters["key_frames"] > 1
