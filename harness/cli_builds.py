"""Commands on builds of this project: compare two of them, and find the commit that made a figure worse."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.scenario.link import Backend

DEFAULT_OUT = Path("reports")
_BUILD = "a revision, a folder with sources ('.'), or a .whl file"
Scenario = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file that both run.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Override the scenario's seed.")]
On = Annotated[Backend | None, typer.Option(help="Override link.backend of every case.")]
Out = Annotated[Path, typer.Option(help="Folder below which the run's own is made.")]
Kept = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Folder that keeps builds. [default: punktfunk-lab in the user's cache folder]"
    ),
]
Charts = Annotated[
    bool, typer.Option(help="Draw the page's charts, a second of CPU; 'report' draws them later.")
]
Repo = Annotated[Path, typer.Option("--repository", help="Clone that has the revisions.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(ab)
    app.command()(bisect)
    app.command()(backfill)


def ab(
    base: Annotated[str, typer.Argument(metavar="BASE", help=f"The build before: {_BUILD}.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The build now, likewise.")],
    scenario: Scenario,
    *,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="M", help="Judge this figure alone; may be given again.")
    ] = None,
    expression: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Run the cases whose name matches, as 'run' does.")
    ] = "",
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="Run exactly this case.")] = None,
    pairs: Annotated[
        int, typer.Option(min=1, max=5000, help="Pairs of every case; with --resume, more.")
    ] = 20,
    resume: Annotated[str, typer.Option(metavar="RUN", help="Add pairs to an earlier comparison.")] = "",
    seed: Seed = None,
    backend: On = None,
    out: Out = DEFAULT_OUT,
    cache: Kept = None,
    repository: Repo = Path(),
    charts: Charts = True,
    plain: Annotated[bool, typer.Option(help="Plain lines, also on a terminal.")] = False,
) -> None:
    """Run two builds in turn on the same seeds and links, and show what moved. Exit 3 for a regression."""
    from harness.builds import ab as comparing

    request = comparing.Request(
        base=base,
        head=head,
        scenario=scenario,
        metrics=tuple(metric or ()),
        expression=expression,
        case_ids=tuple(case or ()),
        pairs=pairs,
        resume=resume,
        seed=seed,
        backend=backend,
        out=out,
        cache=cache,
        repository=repository,
        charts=charts,
        plain=plain,
        command=_command(),
    )
    raise typer.Exit(comparing.run(request))


def bisect(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A commit before the figure became worse.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="A commit after it.")],
    scenario: Scenario,
    *,
    metric: Annotated[str, typer.Option(metavar="M", help="The figure, as 'ab' and reports name it.")],
    expression: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Choose of the cases whose name matches, as 'run' does.")
    ] = "",
    case: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Measure this case. [default: the one in which it moved most surely]"
        ),
    ] = "",
    pairs: Annotated[int, typer.Option(min=1, max=5000, help="Pairs to begin each comparison with.")] = 20,
    seed: Seed = None,
    backend: On = None,
    out: Out = DEFAULT_OUT,
    cache: Kept = None,
    repository: Repo = Path(),
    charts: Charts = True,
) -> None:
    """Find the commit that made a figure worse; ends with its figures before and after, and how to see them again."""
    from harness.builds import bisect as searching

    request = searching.Request(
        good=good,
        bad=bad,
        scenario=scenario,
        metric=metric,
        expression=expression,
        case=case,
        pairs=pairs,
        seed=seed,
        backend=backend,
        out=out,
        cache=cache,
        repository=repository,
        charts=charts,
        command=_command(),
    )
    raise typer.Exit(searching.run(request))


def backfill(
    range_: Annotated[
        str, typer.Argument(metavar="RANGE", help="Commits as git names them: v0.1..HEAD, HEAD~200..main.")
    ],
    scenario: Scenario,
    *,
    commits: Annotated[int, typer.Option(min=2, max=1000, help="How many of them, at equal distances.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each commit, in turn.")] = 4,
    expression: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Run the cases whose name matches, as 'run' does.")
    ] = "",
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="Run exactly this case.")] = None,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the data set.")] = DEFAULT_OUT
    / "history",
    seed: Seed = None,
    backend: On = None,
    out: Out = DEFAULT_OUT,
    cache: Kept = None,
    repository: Repo = Path(),
    plain: Annotated[bool, typer.Option(help="Plain lines, also on a terminal.")] = False,
) -> None:
    """Run past commits and add them to the data set, for 'history' to draw; those that do not build are left out."""
    from harness.builds import backfill as filling

    request = filling.Request(
        range=range_,
        scenario=scenario,
        expression=expression,
        case_ids=tuple(case or ()),
        commits=commits,
        rounds=rounds,
        seed=seed,
        backend=backend,
        to=to,
        out=out,
        cache=cache,
        repository=repository,
        plain=plain,
        command=_command(),
    )
    raise typer.Exit(filling.run(request))


def _command() -> str:
    return shlex.join(["python", "-m", "harness", *sys.argv[1:]])
