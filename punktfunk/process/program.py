"""The frame of the headless programs: arguments, logging, and errors as one line of cause and one of advice."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from punktfunk import log
from punktfunk.errors import ConfigError, PunktfunkError
from punktfunk.process import loading
from punktfunk.terminal import say

C = TypeVar("C", bound=BaseModel)


def load_config(model: type[C], path: Path) -> C:
    """Read a configuration file (JSON); raise ``ConfigError`` that names the field and what is wrong."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise config_error(error, str(path)) from error


def config_error(error: ValidationError, where: str) -> ConfigError:
    """Turn pydantic's first complaint into one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "configuration"
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, PunktfunkError):
        return ConfigError(f"{where}: {field}: {reason.cause}", reason.hint)
    return ConfigError(
        f"{where}: {field}: {first['msg']}", "correct that field; its description says what it takes"
    )


def run_program(
    name: str, model: type[C], main: Callable[[C], Coroutine[Any, Any, int]], argv: list[str] | None = None
) -> int:
    """Parse ``--config FILE``, run ``main`` in an event loop, return the exit status of the error tree."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--config", type=Path, required=True, help="configuration, a JSON file")
    parser.add_argument("--verbose", action="store_true", help="log details")
    arguments = parser.parse_args(argv)
    log.configure(level="debug" if arguments.verbose else "info")
    try:
        config = load_config(model, arguments.config)
        loading.ready()
        return asyncio.run(main(config))
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
