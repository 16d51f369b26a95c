"""Parse command lines as the real programs do, and stop before anything runs.

A child process of test_readme.py: reads a JSON list of ``[program, arguments]`` on standard input
(the program is a console script's ``module:function`` or the path of a recipe), and prints a JSON
list with one answer for each: "" where the line parses, else what the program said.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import json
import os
import runpy
import sys
from collections.abc import Callable
from typing import Any, NoReturn


class Parsed(BaseException):
    """The command line was understood: what it names would run now."""


def _stop(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def stop(*_: Any, **__: Any) -> NoReturn:
        raise Parsed

    return stop


def stop_after_parsing() -> None:
    """Make tyro call nothing: whatever it would have called or returned raises `Parsed`."""
    import tyro

    real_cli, real_dict = tyro.cli, tyro.extras.subcommand_cli_from_dict

    def cli(f: Any, *args: Any, **kwargs: Any) -> NoReturn:
        real_cli(_stop(f) if inspect.isfunction(f) else f, *args, **kwargs)
        raise Parsed

    def from_dict(subcommands: dict[str, Any], *args: Any, **kwargs: Any) -> NoReturn:
        stopped = {n: _stop(f) if inspect.isfunction(f) else f for n, f in subcommands.items()}
        real_dict(stopped, *args, **kwargs)
        raise Parsed

    tyro.cli = cli
    tyro.extras.subcommand_cli_from_dict = from_dict


def answer(program: str, arguments: list[str]) -> str:
    """What is wrong with one command line, or ""."""
    said = io.StringIO()
    sys.argv = [program, *arguments]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if program.endswith(".py"):
                runpy.run_path(program, run_name="__main__")
            else:
                module, function = program.split(":")
                getattr(importlib.import_module(module), function)()
    except Parsed:
        return ""
    except SystemExit as stop:
        return "" if stop.code in (0, None) else said.getvalue() or f"exit code {stop.code}"
    except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
        return f"{type(error).__name__}: {error}"
    return "it ran to its end without parsing"


if __name__ == "__main__":
    os.environ["COLUMNS"] = "200"
    sys.path.insert(0, os.getcwd())
    stop_after_parsing()
    json.dump(
        [answer(program, arguments) for program, arguments in json.load(sys.stdin)], sys.stdout
    )
