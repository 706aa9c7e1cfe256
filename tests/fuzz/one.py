"""Fuzz one target in this process, as the package does: ``python -m tests.fuzz.one TARGET SECONDS FINDINGS FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["punktfunk", "h11"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.target import Target

MAX_INPUT_S = 30
"""Wall clock of one input, for what hangs without CPU; what costs CPU is caught before."""
MAX_MEMORY_MIB = 1024


def fuzz(target: Target, seconds: int, findings: Path, folder: Path) -> None:
    """Mutate a target's seeds, led by the lines that they reach; ends the process, with 0 where nothing was found."""
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        assert target.run(seed), f"seed {number} of {target.name} is not understood"
        (corpus / f"{number}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = (
        f"-max_total_time={seconds}",
        f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MAX_MEMORY_MIB}",
        f"-max_len={target.longest}",
        f"-dict={words}",
        f"-artifact_prefix={findings}/{target.name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    )

    def one(data: bytes) -> None:
        target.check(data)

    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    name, for_s, found_in, own = sys.argv[1:]
    [chosen] = [target for target in TARGETS if target.name == name]
    fuzz(chosen, int(for_s), Path(found_in), Path(own))
