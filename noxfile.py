"""Every chore of the repository, one session each (``nox --list``).

All sessions share one environment (``.nox/env-<version>``) that is made on first use and remade only when what
goes into it changed: the native core is compiled once, not once a session.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "rust", "tests"]

ROOT = Path(__file__).parent
CORE = ROOT / "punktfunk" / "core"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
ENV = ROOT / ".nox" / f"env-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = str(ENV / "bin" / "python")
CARGO_TOOLS = ROOT / ".nox" / "cargo"
CARGO_MUTANTS = "27.1.0"
CARGO_FUZZ = "0.13.2"
CI = os.environ.get("CI") == "true"

# Link-time optimisation of a dozen test programs costs minutes and finds nothing. They have a folder of their own, for
# the crate's libraries have one name whatever the profile: beside these, module and wheel would be compiled again.
CORE_TESTS = {
    "PYO3_PYTHON": sys.executable,
    "CARGO_TARGET_DIR": str(CORE / "target" / "without-lto"),
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_DEBUG": "0",
}

NO_CARGO = """\
punktfunk's protocol core is Rust and this machine has no `cargo`.
  → install Rust 1.89 or newer (https://rustup.rs, or your distribution's packages) and run this again;
  → or let the build fetch a toolchain of its own where there is internet: python3 -m pip install puccinialin
    && python3 -m puccinialin setup, then put the printed folder on PATH."""


def _need_cargo(session: nox.Session) -> None:
    if not shutil.which("cargo"):
        session.error(NO_CARGO)


def _fingerprint(session: nox.Session, *paths: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(p for root in paths for p in ([root] if root.is_file() else root.rglob("*"))):
        if path.is_file() and "target" not in path.parts and path.suffix in {".rs", ".toml", ".lock", ".txt"}:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _current(stamp: Path, value: str) -> bool:
    return stamp.is_file() and stamp.read_text() == value


def _prepare(session: nox.Session) -> None:
    """Make the environment, install the locked dependencies and the project with its compiled core."""
    python_stamp, core_stamp = ENV / ".dependencies", ENV / ".core"
    dependencies = _fingerprint(session, ROOT / "pyproject.toml", CONSTRAINTS)
    core = _fingerprint(session, CORE, ROOT / "pyproject.toml")
    module = CORE / "_core.abi3.so"
    for counting in CORE.glob("_core.cpython-*.so"):
        counting.unlink()  # left by a coverage run that was killed: Python would take it before the module
    if _current(python_stamp, dependencies) and _current(core_stamp, core) and module.exists():
        return
    _need_cargo(session)
    if not (ENV / "bin" / "python").exists():
        session.log(f"making the environment {ENV.relative_to(ROOT)} (once)")
        session.run(sys.executable, "-m", "venv", str(ENV), external=True)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS))
    if not _current(python_stamp, dependencies):
        session.log("installing the locked dependencies (about a minute, once)")
        project = nox.project.load_toml(ROOT / "pyproject.toml")
        groups = nox.project.dependency_groups(project, "test", "lint")
        # The GPU's encoder is of no use without a GPU; its tests need the driver's absence only.
        optional = {**project["project"]["optional-dependencies"], "nvenc": []}
        extras = [d for extra in optional.values() for d in extra]
        # The independent Leopard code of the tests is built against a PyO3 that knows no Python after 3.12.
        env = {"PYO3_USE_ABI3_FORWARD_COMPATIBILITY": "1"}
        wanted = (*project["project"]["dependencies"], *extras, *groups)
        session.run(*pip, "maturin", *wanted, external=True, env=env)
    session.log("compiling the protocol core (about a minute the first time)")
    # Outside of a build environment of pip's own, maturin has to be found on PATH.
    session.run(
        *pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT), external=True, env={"PATH": _path()}
    )
    python_stamp.write_text(dependencies)
    core_stamp.write_text(core)


def _path() -> str:
    """Return PATH with the environment's programs first."""
    return os.pathsep.join([str(ENV / "bin"), os.environ.get("PATH", "")])


def _run(
    session: nox.Session,
    program: str,
    *arguments: str,
    silent: bool = False,
    env: dict[str, str] | None = None,
) -> object:
    """Run a program of the environment, which its children find on PATH too.

    Images of containers often forbid bytecode to be written. Then every process of the hundreds that the tests start
    compiles all of its modules, and every worker of theirs rewrites the asserts of all tests.
    """
    env = {"PATH": _path(), "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
    return session.run(str(ENV / "bin" / program), *arguments, env=env, external=True, silent=silent)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite (pass pytest arguments after --, -n 6 too; files named run one after the other)."""
    _prepare(session)
    _run(session, "python", "-m", "pytest", *_side_by_side(session), "--durations=30", *session.posargs)


def _side_by_side(session: nox.Session) -> tuple[str, ...]:
    # What is no path is the value of an option: `-- -n 6`, `-- --seed 1`.
    named = any((ROOT / argument.partition("::")[0]).exists() for argument in session.posargs)
    return () if named else ("-n", str(_workers()), "--dist", "loadscope")


def _workers() -> int:
    """Return how many tests run side by side: four that wait for two CPUs, and one that computes meanwhile.

    Three of them have long queues, of links, of cases over them and of desktops, which mostly wait for time to pass.
    What measures and got too little of the CPUs beside the others is tried again alone.
    """
    return max(2, len(os.sched_getaffinity(0)) * 2) + 1


@nox.session(name="loss-sweep")
def loss_sweep(session: nox.Session) -> None:
    """Run the loss sweep over simulated and shaped links and write its report: the main job."""
    _prepare(session)
    _run(session, "python", "-m", "harness", "run", "scenarios/loss-sweep.yaml", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and the arrows between rooms (ruff, import-linter)."""
    _prepare(session)
    _run(session, "ruff", "check", ".")
    _run(session, "ruff", "format", "--check", ".")
    _run(session, "lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types (mypy --strict) and hold the core's stub against the compiled module (stubtest)."""
    _prepare(session)
    _run(session, "python", "-m", "mypy")
    _run(session, "python", "-m", "mypy.stubtest", "punktfunk.core._core")


@nox.session
def rust(session: nox.Session) -> None:
    """Check and test the core alone: cargo fmt, clippy -D warnings, cargo test (examples in documentation too).

    Last, what `nox -s ab` plants into the core has to compile still.
    """
    _need_cargo(session)
    manifest = ("--manifest-path", str(CORE / "Cargo.toml"))
    env = CORE_TESTS
    session.run("cargo", "fmt", *manifest, "--all", "--check", external=True)
    session.run(
        "cargo", "fmt", "--manifest-path", str(CORE / "fuzz" / "Cargo.toml"), "--check", external=True
    )
    session.run(
        "cargo", "clippy", *manifest, "--locked", "--workspace", "--all-targets", "--release", "--", "-D", "warnings",
        external=True, env=env,
    )  # fmt: skip
    session.run(
        "cargo",
        "test",
        *manifest,
        "--locked",
        "--release",
        "-p",
        "punktfunk-core",
        *session.posargs,
        external=True,
        env=env,
    )
    session.run("python", "-m", "tests.builds.plants")


@nox.session
def bench(session: nox.Session) -> None:
    """Print the table of targets with a verdict for every row, or run the benches named, which print figures.

    `nox -s bench` is `nox -s bench -- table`, some minutes; options go to the programs named: `-- --json FILE`,
    `-- --reference DIR`, `-- soak --minutes 3`. `-- all` runs every bench but the soak, which takes an hour, and those
    that compile the core once more: criterion, and isal (GF(2^8) beside ISA-L).
    """
    _prepare(session)
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(names) :]
    for name in _benches(names):
        if name == "table":
            _need_cargo(session)
            _tools(session, "bench")
            isal = {"PUNKTFUNK_ISAL": _isal(session)}
            _run(session, "python", "-m", "tests.bench.table", *options, env=isal)
        elif name == "isal":
            _need_cargo(session)
            _tools(session, "bench")
            session.run(
                "cargo", "bench", "--manifest-path", str(CORE / "Cargo.toml"), "--locked", "--bench", "isal",
                "--", *options, external=True, env={"PUNKTFUNK_ISAL": _isal(session)},
            )  # fmt: skip
        elif name == "criterion":
            _need_cargo(session)
            session.run(
                "cargo", "bench", "--manifest-path", str(CORE / "Cargo.toml"), "--locked", external=True
            )
        else:
            _run(session, "python", f"tests/bench/{name}.py", *options)


def _benches(names: list[str]) -> list[str]:
    if names != ["all"]:
        return names or ["table"]
    return sorted(p.stem for p in (ROOT / "tests" / "bench").glob("*.py") if p.stem != "soak")


def _isal(session: nox.Session) -> str:
    """Return the path of ISA-L, which the wheel of pyeclib brings along."""
    code = """import importlib.metadata as m
print(*[f.locate() for f in m.files("pyeclib") or () if f.name.startswith("libisal")])"""
    return str(_run(session, "python", "-c", code, silent=True)).strip()


@nox.session
def desktops(session: nox.Session) -> None:
    """Stream the real compositors of a Debian in a folder of its own (-- --suite testing for newer ones); as root."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.desktops.rig", *session.posargs)


@nox.session
def vaapi(session: nox.Session) -> None:
    """Encode by VA-API over a driver that needs no GPU, with a PyAV built in a Debian testing; as root, by hand."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.vaapi", *session.posargs)


@nox.session
def dist(session: nox.Session) -> None:
    """Make the folder of a release in dist/: wheel, source, licences, sums (-- --again: twice, and compare)."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.packaging.release", *session.posargs)


@nox.session(name="dist-roots")
def dist_roots(session: nox.Session) -> None:
    """Make a release, install it in bare Debians 12 and 13 and stream there (-- --suite trixie); as root, by hand."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.packaging.release")
    _run(session, "python", "-m", "tests.packaging.roots", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write every generated file anew: schema, references, licences, C header (tests fail when one drifted)."""
    _prepare(session)
    _run(session, "python", "-m", "harness", "docs", *session.posargs)
    _run(session, "python", "-m", "tests.packaging.release", "--renew")
    session.run(
        "cargo", "test", "--manifest-path", str(CORE / "Cargo.toml"), "--locked", "--release", "-p", "punktfunk-core",
        "--test", "abi", external=True, env={"PUNKTFUNK_RENEW_HEADER": "1"},
    )  # fmt: skip


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed mutated bytes to parsers: `nox -s fuzz -- [TARGET] [SECONDS]`, of the core and in Python, each 60 s.

    `nox -s fuzz -- --guided [TARGET] [SECONDS]` leads those of the core by the lines that they reach, under
    AddressSanitizer; by hand, it takes nightly Rust and some minutes to build.
    """
    guided = "--guided" in session.posargs
    words = [word for word in session.posargs if word != "--guided"]
    seconds = next((word for word in words if word.isdecimal()), "60")
    targets = [word for word in words if not word.isdecimal()]
    _need_cargo(session)
    if guided:
        _plain_python(session, "-m", "tests.sanitizers.nightly", "coverage-guided fuzzing")
        _cargo_tool(session, "cargo-fuzz", CARGO_FUZZ)
        _plain_python(session, "-m", "tests.fuzz.guided", *targets, "--seconds", seconds)
        return
    _prepare(session)
    _tools(session, "fuzz")
    in_python = set(str(_run(session, "python", "-m", "tests.fuzz", "--list", silent=True)).split())
    if not targets or in_python.intersection(targets):
        names = [name for name in targets if name in in_python]
        _run(session, "python", "-m", "tests.fuzz", *names, "--seconds", seconds)
    core = CORE_TESTS | {"FUZZ_SECONDS": seconds}
    for name in [name for name in targets if name not in in_python] or ([] if targets else [""]):
        session.run(
            "cargo", "test", "--manifest-path", str(CORE / "Cargo.toml"), "--locked", "--release", "-p",
            "punktfunk-core", "--test", "fuzz", "no_bytes_break_a_body", "--", "--nocapture",
            external=True, env=core | ({"FUZZ_TARGET": name} if name else {}),
        )  # fmt: skip


@nox.session
def sanitize(session: nox.Session) -> None:
    """Watch tests of kernels, C ABI and sockets: AddressSanitizer, then memcheck (-- address, -- memcheck); by hand."""
    _need_cargo(session)
    _plain_python(session, "-m", "tests.sanitizers", *session.posargs, env=CORE_TESTS)


def _plain_python(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run what needs neither the dependencies nor the compiled core by the Python that runs nox."""
    session.run(sys.executable, *arguments, external=True, env=env)


def _tools(session: nox.Session, group: str) -> None:
    """Install what only one session needs, once."""
    stamp = ENV / f".{group}"
    wanted = _fingerprint(session, ROOT / "pyproject.toml", CONSTRAINTS)
    if not _current(stamp, wanted):
        tools = nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), group)
        _run(session, "python", "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), *tools)
        stamp.write_text(wanted)


def _cargo_tool(session: nox.Session, name: str, version: str) -> None:
    """Build a subcommand of cargo, once for each version of it."""
    tool = CARGO_TOOLS / "bin" / name
    subcommand = name.removeprefix("cargo-")
    known = (
        session.run(str(tool), subcommand, "--version", external=True, silent=True) if tool.exists() else ""
    )
    if version not in str(known).split():
        session.log(f"building {name} {version} (some minutes, once)")
        session.run(
            "cargo", "install", name, "--locked", "--version", version, "--root", str(CARGO_TOOLS), external=True
        )  # fmt: skip


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant bugs, list those that no test notices (-- --minutes 20 --shard 1/4 --rooms a,b); by hand and nightly."""
    _prepare(session)
    _need_cargo(session)
    _tools(session, "mutants")
    _cargo_tool(session, "cargo-mutants", CARGO_MUTANTS)
    _run(session, "python", "-m", "tests.mutants", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Count the lines of Python and Rust that tests reach, together (pass pytest arguments after --); by hand."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.coverage", *_side_by_side(session), *session.posargs)


@nox.session
def ab(session: nox.Session) -> None:
    """Plant regressions into a copy of this history and have them found (-- planted bisect rates); by hand."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.builds", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """Run cases on clusters of namespaces: deaths, cut networks, TLS, throughput (-- arguments of pytest); as root."""
    _prepare(session)
    _run(session, "python", "-m", "tests.cluster", *session.posargs)


@nox.session(name="netem-vm")
def netem_vm(session: nox.Session) -> None:
    """Prove the netem link (or DMA-BUFs) in a virtual machine whose kernel has what this one may lack."""
    _prepare(session)
    _run(session, "python", "-m", "harness.vm", *session.posargs)


@nox.session(name="service-vm")
def service_vm(session: nox.Session) -> None:
    """Prove the service in a virtual machine with systemd: login, boot, watchdog, journal; as root, by hand."""
    _prepare(session)
    _need_cargo(session)
    _run(session, "python", "-m", "tests.service", *session.posargs)
