"""What a run leaves behind: its configuration, provenance and best weights."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from avsr.files import load_weights, save_weights, write_json

PACKAGES = ("torch", "torchaudio", "accelerate", "transformers", "datasets", "numpy", "mediapipe")


def provenance() -> dict[str, Any]:
    """Command, commit, versions and machine, for the run folder and every published figure."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "commit": current_commit(),
        "python": platform.python_version(),
        "versions": versions,
        "machine": platform.machine(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
    }


def current_commit() -> str | None:
    """Commit of the checkout that this package runs from, ``+changes`` when it is not clean."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        dirty = git(
            "status", "--porcelain", "--untracked-files=no", "--", str(folder.parent.parent)
        )
        return git("rev-parse", "HEAD") + ("+changes" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # installed from a wheel: there is no checkout


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor()


def write_run_info(run_folder: Path, configs: dict[str, Any], extra: dict[str, Any]) -> None:
    """Write ``run.json``: resolved configs, provenance and whatever else identifies the run."""
    resolved = {k: asdict(v) if is_dataclass(v) else v for k, v in configs.items()}  # type: ignore[arg-type]
    write_json(run_folder / "run.json", {"configs": resolved, **provenance(), **extra})


def save_model(path: Path, state: dict[str, Any], config: Any, extra: dict[str, str]) -> None:
    """Weights with the config that builds their network in the file's metadata."""
    save_weights(path, state, {"config": json.dumps(asdict(config)), **extra})


def load_model(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """State, config fields and the rest of the metadata of a :func:`save_model` file.

    Raises:
        ValueError: not such a file.
    """
    state, info = load_weights(path)
    if "config" not in info:
        raise ValueError(f"{path}: has no network config in it; give a model of 'avsr' training")
    try:
        config = json.loads(info.pop("config"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: its network config is damaged ({error})") from error
    return state, config, info
