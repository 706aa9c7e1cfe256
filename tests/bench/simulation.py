"""Time the simulation: a minute of 1080p60 at 20 Mbit/s, sealed, 2 % loss, 20 % FEC. Prints figures, judges nothing.

The yardstick is real time: 600 ms for the minute would be a hundred times as fast.

    python tests/bench/simulation.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import time

from punktfunk.core import simulate

FPS, SECONDS = 60, 60
SPEC = {
    "stream": {"key": "000102030405060708090a0b0c0d0e0f", "fec_percent": 20},
    "frames": FPS * SECONDS,
    "fps": FPS,
    "frame_bytes": {"kind": "constant", "bytes": 41_667},
    "content": "random",
    "seed": 1,
}
LINKS = {
    "2 % independent": {"loss": {"kind": "independent", "p": 0.02}, "delay_us": 5_000},
    "2 % in bursts": {"loss": {"kind": "gilbert_elliott", "p": 0.005, "r": 0.25}, "delay_us": 5_000},
    "2 %, rate and jitter": {
        "loss": {"kind": "independent", "p": 0.02},
        "delay_us": 5_000,
        "rate_kbps": 50_000,
        "jitter_us": 1_000,
        "jitter_distribution": "normal",
        "jitter_reorder": True,
    },
}


def main() -> None:
    """Time every link with both codes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{SECONDS} s of 1080p60 at 20 Mbit/s, CPU ms, best and median of {options.repeats}:")
    for name, link in LINKS.items():
        for scheme, block in (("gf16", 4096), ("gf8", 200)):
            stream = {"scheme": scheme, "max_block_shards": block, **SPEC["stream"]}
            text = json.dumps({**SPEC, "stream": stream, "link": link})
            times, digests = [], set()
            for _ in range(options.repeats):
                begin = time.process_time()
                result = simulate(text)
                times.append((time.process_time() - begin) * 1e3)
                digests.add(result.digest)
            ledger = json.loads(result.ledger_json)
            times.sort()
            middle = times[len(times) // 2]
            print(
                f"{name:22} {scheme:5} {times[0]:7.0f} {middle:7.0f}   {SECONDS * 1e3 / middle:5.0f} x real time, "
                f"{ledger['host']['packets_sent'] / middle * 1e3:9.0f} packets/s, "
                f"{ledger['frames']['intact']}/{ledger['frames']['submitted']} intact, "
                f"{len(digests)} digest(s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
