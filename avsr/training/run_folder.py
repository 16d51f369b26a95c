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

from avsr.files import load_weights, read_json, save_weights, write_json

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


def same_run(path: Path, facts: dict[str, Any], what: str) -> None:
    """Keep ``facts`` in ``path``; where they are kept already they must be the same.

    What a folder holds was made from these facts, so going on with others would mix two runs.

    Args:
        path: JSON file beside the results that the facts explain.
        facts: JSON-ready values.
        what: names the results in the message.

    Raises:
        ValueError: other facts are kept there; the message names those that differ.
    """
    wanted = json.loads(json.dumps(facts))
    if not path.exists():
        write_json(path, wanted)
        return
    kept = read_json(path)
    names = [name for name in sorted({*kept, *wanted}) if kept.get(name) != wanted.get(name)]
    if names:
        now, then = ([facts.get(name) for name in names] for facts in (wanted, kept))
        raise ValueError(
            f"{path.parent}: its {what} come from another {', '.join(names)} "
            f"(now {now}, then {then}); "
            f"give another --out, or remove them with {path}"
        )


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
    if not isinstance(config, dict):
        raise ValueError(f"{path}: its network config is a {type(config).__name__}, not an object")
    return state, config, info
