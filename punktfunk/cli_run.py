"""What every command of the program does: read its configuration, run, and end with the error's own exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from punktfunk.errors import PunktfunkError
from punktfunk.process import loading
from punktfunk.process.program import config_error

C = TypeVar("C", bound=BaseModel)


def fields_of(**fields: Any) -> dict[str, Any]:
    """Leave out what was not given: the model has the default."""
    return {name: value for name, value in fields.items() if value is not None}


def config_of(model: type[C], **fields: Any) -> C:
    try:
        return model.model_validate(fields_of(**fields))
    except ValidationError as error:
        fail(config_error(error, "command line"))
    except PunktfunkError as error:
        fail(error)


def run(program: Callable[[C], Coroutine[Any, Any, int]], config: C) -> NoReturn:
    loading.ready()
    try:
        status = asyncio.run(program(config))
    except PunktfunkError as error:
        fail(error)
    except KeyboardInterrupt:
        status = 130
    raise typer.Exit(status)


def fail(error: PunktfunkError) -> NoReturn:
    """Print cause and next step, and leave with the error's exit status."""
    from rich.markup import escape

    from punktfunk.rich_terminal import Console

    err = Console(stderr=True)
    cause = f"[bold red]error[/]: {escape(error.cause)} [dim]{escape(f'[{error.code}]')}[/]"
    err.print(cause, highlight=False, soft_wrap=True)
    if error.hint:
        err.print(f"  → {escape(error.hint)}", highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)
