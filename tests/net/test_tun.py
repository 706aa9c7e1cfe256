"""The TUN link: as asked it passes its probe, sabotaged it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.link.base import LinkSpecs
from harness.link.tun import TunLink
from harness.link.verify import verify
from harness.topology import topology
from punktfunk.errors import LinkUnverifiedError

pytestmark = pytest.mark.root

LOSSY = {"delay_us": 5000.0, "loss": {"kind": "independent", "p": 0.05}}

AS_ASKED = {
    "nothing": {},
    "loss and delay": LOSSY,
    "bursts": {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.25, "bad": 1.0, "good": 0.0}},
    "every eighth": {"loss": {"kind": "periodic", "every": 8, "offset": 0}},
    "jitter": {"delay_us": 20_000.0, "jitter_us": 2000.0, "jitter_distribution": "normal"},
    "rate": {"rate_kbps": 20_000, "queue_packets": 100, "delay_us": 2000.0},
    "duplicates and corruption": {"duplicate": 0.03, "corrupt": 0.03, "corrupt_mode": "payload"},
    "reordering": {"delay_us": 3000.0, "reorder": {"p": 0.05, "extra_us": 3000.0}},
    "checksum": {"corrupt": 0.05, "corrupt_mode": "checksum"},
}


@pytest.mark.parametrize("spec", AS_ASKED.values(), ids=AS_ASKED)
def test_a_link_that_is_as_asked_passes(spec: dict[str, object], tmp_path: Path) -> None:
    with topology("tun-ok") as made, TunLink(made, tmp_path, control_port=9777) as link:
        found = verify(link, LinkSpecs(spec, {}, seed=11)).findings
    assert all(one.ok for findings in found.values() for one in findings)
    assert {one.name for one in found["down"]} >= {"loss", "duplicates", "delay"}


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (LOSSY | {"loss": {"kind": "independent", "p": 0.025}}, "loss"),
        (LOSSY | {"delay_us": 8000.0}, "delay"),
        (LOSSY | {"duplicate": 0.01}, "duplicates"),
    ],
    ids=["half the loss", "wrong delay", "unasked duplicates"],
)
def test_a_sabotaged_link_is_refused_with_the_reason(
    actual: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with topology("tun-bad") as made, TunLink(made, tmp_path, control_port=9777) as link:
        with pytest.raises(LinkUnverifiedError, match=f"down: {reason}: asked") as refused:
            verify(link, LinkSpecs(LOSSY, {}, seed=12), LinkSpecs(actual, {}, seed=12))
        assert refused.value.exit_code == 5
