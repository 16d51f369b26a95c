"""How a stage starts itself on the cores that are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsr.training import command
from avsr.training.command import (
    available_cores,
    default_num_processes,
    is_launched,
    launch,
    launch_stage,
    launched_stage,
)


@pytest.mark.parametrize(
    ("cores", "batches", "expected"),
    [(1, 2, 1), (2, 2, 2), (8, 2, 2), (3, 4, 2), (4, 6, 3), (16, 1, 1)],
)
def test_processes_share_an_update_evenly(
    cores: int, batches: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "available_cores", lambda: cores)
    monkeypatch.setattr(command.torch.cuda, "is_available", lambda: False)
    assert default_num_processes(batches) == expected


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_launched_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert not is_launched()
    monkeypatch.setenv("RANK", "0")
    assert not is_launched()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert is_launched()


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "stage.py"
    path.write_text("import os, sys\nfrom pathlib import Path\n" + text)
    return str(path)


def test_one_process_runs_plainly(tmp_path: Path) -> None:
    line = (
        "names = ('RANK', 'WORLD_SIZE', 'OMP_NUM_THREADS')\n"
        "Path(sys.argv[1]).write_text(' '.join(os.environ[n] for n in names))"
    )
    launch([script(tmp_path, line), str(tmp_path / "said")], 1)
    assert (tmp_path / "said").read_text() == "0 1 1"


def test_two_processes_know_their_ranks(tmp_path: Path) -> None:
    line = "(Path(sys.argv[1]) / os.environ['RANK']).write_text(os.environ['WORLD_SIZE'])"
    (tmp_path / "said").mkdir()
    launch([script(tmp_path, line), str(tmp_path / "said")], 2)
    said = {path.name: path.read_text() for path in (tmp_path / "said").iterdir()}
    assert said == {"0": "2", "1": "2"}


def test_a_failed_stage_fails_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        launch([script(tmp_path, "sys.exit(7)")], 1)
    assert stop.value.code == 7


def test_the_stage_is_told_apart_from_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`recipe.py audio --loop.systems audio`: no word is lost, and the stage arrives."""
    stage = script(
        tmp_path,
        "from avsr.training.command import launched_stage\n"
        "Path(sys.argv[1]).write_text(' '.join([launched_stage('all'), *sys.argv[2:]]))",
    )
    out = tmp_path / "said"
    monkeypatch.setattr(sys, "argv", ["recipe.py", str(out), "audio", "--systems", "audio"])
    launch_stage(stage, "audio", 1)
    assert out.read_text() == "audio audio --systems audio"
    assert launched_stage("all") == "all"  # this process was not launched


def test_ctrl_c_stops_the_stage_too(tmp_path: Path) -> None:
    """The terminal signals the whole group; nobody is left behind and the exit code is 130."""
    stage = script(
        tmp_path, "Path(sys.argv[1]).write_text(str(os.getpid()))\nimport time\ntime.sleep(60)"
    )
    pid_file = tmp_path / "pid"
    code = (
        # Tests in the background inherit that Ctrl-C is ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from avsr.command_line import run_command\n"
        "from avsr.training.command import launch\n"
        "def main() -> None:\n"
        f"    launch([{stage!r}, {str(pid_file)!r}], 1)\n"
        "run_command(main, [])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(600):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "finished parts are kept" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
