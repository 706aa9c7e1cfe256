"""The harness's front door: ``python -m harness`` and ``punktfunk-lab``.

Exit codes: 0 passed · 1 a check failed · 2 usage or scenario invalid · 3 regression against baseline ·
4 this machine cannot run it · 5 harness fault · 130 interrupted, partial results kept.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from harness import cli_builds, cli_dissect, cli_interop, cli_results
from harness.report.summary import LOG_WIDTH
from harness.run import INTERRUPTED_EXIT
from harness.scenario.link import Backend
from punktfunk.errors import CheckFailedError, PunktfunkError, UsageError
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say

app = typer.Typer(
    name="punktfunk-lab",
    help="Run scenarios over simulated and shaped links, and report what moved and whether to believe it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULT_OUT = Path("reports")
Files = Annotated[list[Path] | None, typer.Argument(help="Scenario files.", show_default=False)]


@app.command()
def run(
    files: Files = None,
    *,
    list_: Annotated[bool, typer.Option("--list", help="Print the names of the cases and stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Print the cases with an estimate of the time each takes.")
    ] = False,
    expression: Annotated[
        str,
        typer.Option("-k", metavar="EXPR", help="Run the cases whose name matches: 'gf16 and not loss=20'."),
    ] = "",
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="Run exactly this case.")] = None,
    post_hoc: Annotated[
        bool,
        typer.Option(
            "--post-hoc",
            help="The cases are chosen for what they showed: hold them to theory as some of all of their layer.",
        ),
    ] = False,
    resume: Annotated[
        str, typer.Option(metavar="RUN", help="Resume an earlier run, by name or folder.")
    ] = "",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, max=256, help="Simulations at a time; 0: one a core.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the scenario's seed.")] = None,
    axis: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="Override the values of an axis.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder below which the run's own is made.")] = DEFAULT_OUT,
    backend: Annotated[Backend | None, typer.Option(help="Override link.backend of every case.")] = None,
    require_quiet: Annotated[
        bool,
        typer.Option(
            "--require-quiet", help="Refuse what a live case finds while other programs take the machine."
        ),
    ] = False,
    plain: Annotated[bool, typer.Option(help="Plain lines, also on a terminal.")] = False,
    charts: Annotated[
        bool, typer.Option(help="Draw the report's charts, a second of CPU; 'report' draws them later.")
    ] = True,
    on: Annotated[
        str,
        typer.Option(metavar="CLUSTER", help="Run the cases on local:N workers, or on dask://HOST:PORT."),
    ] = "",
    insecure_cluster: Annotated[
        bool,
        typer.Option(
            "--insecure-cluster",
            help="Speak to a cluster without TLS: whoever reaches its port, or answers there, runs code as you.",
        ),
    ] = False,
) -> None:
    """Run scenarios, write a report, print the verdict."""
    from harness.run import launch

    request = launch.Request(
        files=tuple(files or ()),
        expression=expression,
        case_ids=tuple(case or ()),
        post_hoc=post_hoc,
        resume=resume,
        jobs=jobs,
        seed=seed,
        axes={str(file): axes for file in files or ()} if (axes := parsed_axes(axis or ())) else {},
        out=out,
        backend=backend,
        plain=plain or in_ci(),
        charts=charts,
        strict=in_ci(),
        require_quiet=require_quiet,
        show="list" if list_ else "dry-run" if dry_run else "run",
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
        on=on,
        insecure_cluster=insecure_cluster,
    )
    try:
        code = launch.run(request)
    except KeyboardInterrupt:
        code = INTERRUPTED_EXIT
    raise typer.Exit(code)


@app.command()
def schema(
    *,
    out: Annotated[Path | None, typer.Option(help="Write it there instead of printing it.")] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print the metrics that 'expect:' knows.")
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Print the reference page of scenario files.")] = False,
) -> None:
    """Print the JSON schema of scenario files."""
    from harness.docs import metric_page, scenario_page
    from harness.docs.schema import schema_text
    from harness.run.whole_files import write_atomically

    text = metric_page.page() if metrics else scenario_page.page() if page else schema_text()
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text)


@app.command()
def docs(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say what is stale.")] = False,
) -> None:
    """Write every generated file of a clone anew: schema and reference pages."""
    from harness.docs import generated

    names = generated.stale(Path.cwd(), app) if check else generated.write(Path.cwd(), app)
    for name in names:
        say(f"{'stale' if check else 'written'}: {name}")
    if not names:
        say("every generated file is up to date")
    raise typer.Exit(1 if check and names else 0)


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="Remove namespaces and processes that dead runs left.")
    ] = False,
) -> None:
    """Show what this machine can do, who uses it, and the command that fixes what is missing."""
    from harness import doctor as examination

    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    if leftovers:
        raise typer.Exit(examination.show_leftovers(console, as_json=as_json))
    raise typer.Exit(examination.show(console, as_json=as_json))


@app.command()
def latency(
    address: Annotated[
        str, typer.Argument(metavar="HOST[:PORT]", help="Literal IP address of a running host.")
    ],
    *,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to watch.")] = 10.0,
    mode: Annotated[str, typer.Option(help="Mode to ask for.")] = "1280x720@60",
    bitrate: Annotated[str | None, typer.Option(help="Bitrate to ask for; default: the host's.")] = None,
    pin: Annotated[
        str | None, typer.Option(help="Fingerprint that the host must have (off loopback).")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
    host_records: Annotated[
        Path | None,
        typer.Option(help="Folder that a host on this machine records into: shows its stages, too."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the frame records there.")] = None,
) -> None:
    """Connect to a host and print where a frame's time goes, from capture to decoded picture."""
    import asyncio
    import tempfile

    from pydantic import ValidationError

    from harness.analysis import latency as probing
    from punktfunk.client.config import ClientConfig
    from punktfunk.trust.open_trust import OpenTrust

    with tempfile.TemporaryDirectory(prefix="punktfunk-lab-") as scratch:
        try:
            config = ClientConfig.model_validate(
                {
                    "pin": pin,
                    "trust": OpenTrust.LOOPBACK,
                    "state_dir": state_dir,
                    "mode": mode,
                    "bitrate": bitrate,
                    "seconds": seconds,
                    "artefacts": keep or scratch,
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"--{first['loc'][0]}: {first['msg']}") from error
        found = asyncio.run(probing.probe(address, config, host_records))
    probing.show(Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH), found)
    if found.failed:
        raise CheckFailedError(
            f"the session did not last: {found.reason}", "the figures are of what came before"
        )


cli_results.register(app)
cli_dissect.register(app)
cli_builds.register(app)
cli_interop.register(app)


def parsed_axes(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return axes that a command line names as ``NAME=A,B``; raise UsageError for any other text."""
    axes: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not values or name in axes:
            raise UsageError(
                f"--axis {text}: not NAME=A,B, or named twice", "for example --axis loss=0 %,2 %"
            )
        axes[name] = tuple(value.strip() for value in values.split(","))
    return axes


def in_ci() -> bool:
    """Return whether a CI system runs us: what this machine cannot do is then a failure, not a note."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


@functools.cache
def _command() -> Any:
    """Return the tree of commands, which typer makes of all signatures: 15 ms of CPU, once a process."""
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors of ours become one line and a hint."""
    try:
        _command()(args=arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except PunktfunkError as error:
        say(f"error[{error.code}] {error.cause}", err=True)
        if error.hint:
            say(f"  → {error.hint}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        # A reader such as `head` has gone: that is its right. Python must not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
