"""AddressSanitizer: nightly Rust compiles checks into the core and its tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from tests.sanitizers.nightly import need_nightly
from tests.sanitizers.programs import KEPT, SOCKETS, Part, Tool

TRIPLE: Final = "x86_64-unknown-linux-gnu"

PARTS: Final = (
    Part("lib", ("fec::", "abi::", *SOCKETS)),
    Part("fec"),
    Part("gf8"),
    Part("vectors"),
    Part("abi"),
    Part("abi_gamestream"),
    Part("abi", ("the_codecs", "lossy_pair"), for_each_kernel=True),
    Part("fuzz"),
)


def tool() -> Tool:
    """Return how tests run under AddressSanitizer; raise ``SystemExit`` with the fix where there is no nightly Rust."""
    nightly = need_nightly("AddressSanitizer")
    sysroot = subprocess.run(
        (*nightly, "rustc", "--print", "sysroot"), capture_output=True, text=True, check=True
    ).stdout.strip()
    runtime = Path(sysroot, "lib", "rustlib", TRIPLE, "lib", "librustc-nightly_rt.asan.a")
    return Tool(
        name="AddressSanitizer",
        cargo=(*nightly, "cargo"),
        build_env={
            "CARGO_TARGET_DIR": str(KEPT / "address"),
            # Debug assertions hold the preconditions of the standard library's unsafe functions as well.
            "RUSTFLAGS": "-Zsanitizer=address -Cdebug-assertions=on -Cforce-frame-pointers=yes",
            "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
        },
        # With a target given, build scripts and macros are compiled without the flags.
        # What others wrote is not what is looked at: optimised less, it is built in half the time.
        options=("--target", TRIPLE, "--config", 'profile.release.package."*".opt-level=1'),
        parts=PARTS,
        found=re.compile(r"ERROR: AddressSanitizer: heap-buffer-overflow"),
        env={
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
            # C programs are linked against the core, whose checks want the runtime.
            "PUNKTFUNK_CC_ARGUMENTS": f"-Wl,--whole-archive {runtime} -Wl,--no-whole-archive -Wl,--export-dynamic",
        },
    )
