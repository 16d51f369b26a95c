"""One line and an exit code for a user's error; the traceback only when asked for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avsr.command_line import guarded, run_command, run_commands


def good(number: int = 1) -> None:
    """Print a number.

    Args:
        number: it.
    """
    print("number", number)


def bad() -> None:
    """Fail as a user's input does."""
    raise ValueError("file.wav: has 0 samples;\n  give another")


def broken() -> None:
    """Fail as only a bug does."""
    raise KeyError("a bug")


def full() -> None:
    """Fail as a disk does."""
    raise OSError(28, "disk full while writing x; free some space")


def stopped() -> None:
    """Be stopped."""
    raise KeyboardInterrupt


COMMANDS = {
    "good": good,
    "bad": bad,
    "broken": broken,
    "full": full,
    "stop": stopped,
    "do it": good,
}


def run(*words: str) -> None:
    run_commands("prog", "What it does.", COMMANDS, words)


def code_of(*words: str) -> object:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    return stop.value.code


def test_a_command_runs_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    run("good", "--number", "3")
    run("do", "it", "--number", "4")
    assert capsys.readouterr().out == "number 3\nnumber 4\n"


def test_users_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("bad") == 1
    assert capsys.readouterr().err == "prog: error: file.wav: has 0 samples; give another\n"
    assert code_of("full") == 1
    error = capsys.readouterr().err
    assert error == "prog: error: disk full while writing x; free some space\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.json"), "a.json: no such"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full; make room"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"), "/x: not allowed to"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "y"), "[Errno 5] Input/output error: 'y'"),
    ],
)
def test_system_errors_name_file_and_remedy(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: list[str]) -> None:
        raise error

    with pytest.raises(SystemExit):
        guarded("prog", fails, [])
    assert capsys.readouterr().err.startswith(f"prog: error: {line}")


@pytest.mark.parametrize("words", [("bad", "--debug"), ("--debug", "bad")])
def test_debug_shows_where(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*words) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error and "in bad" in error
    assert error.endswith("prog: error: file.wav: has 0 samples; give another\n")


def test_our_own_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        run("broken")


def test_a_command_leaves_the_processes_that_it_joined(tmp_path: Path) -> None:
    def joins(words: list[str]) -> None:
        store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)

    guarded("prog", joins, [])
    assert not torch.distributed.is_initialized()


def test_ctrl_c_is_130_and_says_that_parts_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("stop") == 130
    assert capsys.readouterr().err.startswith("stopped; finished parts are kept")


@pytest.mark.parametrize(
    "words",
    [("nonsense",), (), ("do", "nonsense"), ("good", "--nonsense"), ("good", "--number", "x")],
)
def test_words_that_do_not_parse_are_2(words: tuple[str, ...]) -> None:
    assert code_of(*words) == 2


@pytest.mark.parametrize("words", [("--help",), ("do",), ("do", "--help"), ("good", "--help")])
def test_help_is_0(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*words) == 0
    out = capsys.readouterr().out
    assert "usage: prog" in out
    assert ("--number" in out) == (words[0] == "good")


def test_help_names_the_debug_option(capsys: pytest.CaptureFixture[str]) -> None:
    code_of("--help")
    assert "--debug" in capsys.readouterr().out


def test_one_function_as_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(good, ["--number", "5"])
    assert capsys.readouterr().out == "number 5\n"
    with pytest.raises(SystemExit) as stop:
        run_command(bad, [])
    assert stop.value.code == 1


def test_words_are_the_process_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["prog", "a", "--debug", "b"])
    guarded("prog", seen.append)
    assert seen == [["a", "b"]]


def test_real_ctrl_c_in_a_real_process() -> None:
    code = (
        "import os, signal\n"
        # Tests in the background inherit that Ctrl-C is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from avsr.command_line import run_command\n"
        "def main() -> None:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    import time; time.sleep(30)\n"
        "run_command(main, [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 130 and "Traceback" not in done.stderr


def test_a_command_may_have_another_one_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    """ "read --size 3" is the command, "read corpus" the one under it."""

    def read(size: int = 1) -> None:
        print(f"read {size}")

    def read_corpus(folder: str) -> None:
        print(f"corpus {folder}")

    commands = {"read": read, "read corpus": read_corpus}
    run_commands("prog", "", commands, ["read", "--size", "3"])
    run_commands("prog", "", commands, ["read", "corpus", "--folder", "x"])
    assert capsys.readouterr().out == "read 3\ncorpus x\n"
