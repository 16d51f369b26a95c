"""How every command of the toolkit behaves: help, one-line errors, ``--debug``, Ctrl-C."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

DEBUG = "--debug"


def run_commands(
    prog: str,
    description: str,
    commands: Mapping[str, Callable[..., Any]],
    argv: Sequence[str] | None = None,
) -> None:
    """Parse the command line into one of ``commands`` and run it.

    Args:
        prog: name in help and error messages.
        description: first lines of the help.
        commands: subcommand (two words make a nested one) to a typed function.
        argv: words after the program's name; ``None`` takes the process's own.

    Raises:
        SystemExit: 1 after a user's error, said in one line on stderr (``--debug`` shows the
            traceback), 2 for words that do not parse, 130 after Ctrl-C.
    """
    from tyro.extras import subcommand_cli_from_dict

    def parse_and_run(words: list[str]) -> None:
        # "prepare grid" is one subcommand to tyro; two words to the shell.
        if " ".join(words[:2]) in commands:
            words = [" ".join(words[:2]), *words[2:]]
        elif words and words[0] not in commands and _is_group(words[0], commands):
            # A group alone shows what is in it; with a word that is not, it is an unknown command.
            asks = words[1:2] in ([], ["--help"], ["-h"])
            words = ["--help"] if asks else [" ".join(words[:2])]
        about = f"{description}\n\nWith {DEBUG} an error also shows where it was raised."
        subcommand_cli_from_dict(dict(commands), prog=prog, description=about, args=words)

    guarded(prog, parse_and_run, argv)


def _is_group(word: str, commands: Mapping[str, Any]) -> bool:
    return any(name.startswith(f"{word} ") for name in commands)


def run_command(command: Callable[..., Any], argv: Sequence[str] | None = None) -> None:
    """Run one typed function as a program (a recipe), with the same manners."""
    import tyro

    name = sys.argv[0]
    guarded(name, lambda words: tyro.cli(command, prog=name, args=words), argv)


def guarded(prog: str, run: Callable[[list[str]], Any], argv: Sequence[str] | None = None) -> None:
    """Call ``run`` with the words; turn a user's error into one line and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in words
    try:
        run([word for word in words if word != DEBUG])
        leave_process_group()
    except KeyboardInterrupt:
        print("stopped; finished parts are kept, run the same command again", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, OSError) as error:
        if debug:
            traceback.print_exc()
        text = _of_system(error) if isinstance(error, OSError) else str(error)
        line = " ".join(text.split())
        print(f"{prog}: error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def leave_process_group() -> None:
    """End torch's process group, if this process is in one.

    Its threads must not be alive when the interpreter ends: the process then aborts, now and then.
    """
    distributed = sys.modules.get("torch.distributed")  # a command without torch stays without
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


# What a user can do about an error of the operating system, by its number.
REMEDIES = {
    errno.ENOENT: "no such file or folder; check the path",
    errno.EACCES: "not allowed to read or write it; check its rights",
    errno.EROFS: "lies on a read-only disk; write elsewhere",
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "your disk quota is used up; make room and run the same command again",
    errno.EISDIR: "is a folder; name a file in it",
    errno.ENOTDIR: "a part of the path is a file; check the path",
}


def _of_system(error: OSError) -> str:
    """File and remedy of the system errors that users meet; others as they say themselves."""
    number = error.errno or 0
    if number and error.strerror and error.strerror != os.strerror(number):
        return error.strerror  # the toolkit's own words
    remedy = REMEDIES.get(number)
    if remedy is None:
        return str(error)
    return remedy if error.filename is None else f"{error.filename}: {remedy}"
