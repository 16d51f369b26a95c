"""Importing a module only defines, the package roots are light, and names say what is inside."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.checker import PACKAGES, expect_none, module_name, python_files

HEAVY = {
    "torch",
    "torchaudio",
    "transformers",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
    "numba",
    "av",
}
SAYS_NOTHING = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "misc",
    "tools",
    "core",
    "base",
    "lib",
}
DEFINES = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Assert,
)

# Runs in a fresh interpreter: imports every module named as an argument, and says what changed.
WATCH = """
import importlib, os, random, sys, threading
import numpy, torch
def state():
    return {
        "environment": dict(os.environ),
        "folder": sorted(os.listdir()),
        "random": random.getstate(),
        "numpy.random": str(numpy.random.get_state()),
        "torch.random": torch.initial_seed(),
        "torch threads": torch.get_num_threads(),
        "torch dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "threads": threading.active_count(),
    }
import accelerate, datasets, torchaudio, transformers  # what these change is theirs
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
    after = state()
    for what in before:
        if before[what] != after[what]:
            print(f"importing {name} changed {what}")
    before = after
"""


def fresh_python(root: Path, folder: Path, code: str, *arguments: str) -> str:
    """What a new interpreter prints on both streams, ``root`` importable, cwd ``folder``."""
    setup = f"import sys; sys.path.insert(0, {str(root)!r}); sys.dont_write_bytecode = True\n"
    command = [sys.executable, "-W", "ignore", "-c", setup + code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def actions(root: Path) -> list[str]:
    """One line for every statement of a module that does more than define."""
    found: list[str] = []
    for path in python_files(root, *PACKAGES):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            text = ast.unparse(node).splitlines()[0]
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            choice = isinstance(node, ast.If) and text in (
                "if TYPE_CHECKING:",
                "if __name__ == '__main__':",
            )
            if not (docstring or choice or isinstance(node, DEFINES)):
                found.append(f"{path.relative_to(root)}:{node.lineno}: {text}")
    return found


def badly_named(root: Path) -> list[str]:
    """Every module with the name of a standard-library module, or one that says nothing."""
    names = [path for path in python_files(root, *PACKAGES) if path.stem != "__init__"]
    folders = [path.parent for path in python_files(root, *PACKAGES) if path.stem == "__init__"]
    return [
        str(path.relative_to(root))
        for path in names + folders
        if path.stem in SAYS_NOTHING or path.stem in sys.stdlib_module_names
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(repository: Path, tmp_path: Path, package: str) -> None:
    printed = fresh_python(repository, tmp_path, f"import {package}; print(*sys.modules)")
    assert HEAVY & set(printed.split()) == set()
    assert package in printed.split()


def test_importing_any_module_changes_nothing(repository: Path, tmp_path: Path) -> None:
    modules = [module_name(repository, path) for path in python_files(repository, *PACKAGES)]
    assert len(modules) > 20
    assert fresh_python(repository, tmp_path, WATCH, *modules) == ""


def test_a_module_that_acts_on_import_is_seen(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import torch; torch.manual_seed(3); open('left', 'w').close()"
    )
    printed = fresh_python(tmp_path, tmp_path, WATCH, "noisy")
    assert "importing noisy changed torch.random" in printed
    assert "importing noisy changed folder" in printed


def test_modules_only_define(repository: Path) -> None:
    expect_none(actions(repository))


def test_names_say_what_is_inside(repository: Path) -> None:
    expect_none(badly_named(repository))


def test_every_module_has_a_docstring_and_late_annotations(repository: Path) -> None:
    found: list[str] = []
    for path in python_files(repository, *PACKAGES, "recipes", "benchmarks"):
        text = path.read_text(encoding="utf-8")
        if text and ast.get_docstring(ast.parse(text)) is None:
            found.append(f"{path.relative_to(repository)}: no docstring")
        if path.name != "__init__.py" and "from __future__ import annotations" not in text:
            found.append(f"{path.relative_to(repository)}: no 'from __future__ import annotations'")
    expect_none(found)


def test_acting_and_bad_names_are_seen(tmp_path: Path) -> None:
    (tmp_path / "avsr" / "io").mkdir(parents=True)
    (tmp_path / "avsr" / "io" / "__init__.py").touch()
    (tmp_path / "avsr" / "utils.py").write_text('"""Doc."""\nimport os\nos.makedirs("runs")\n')
    assert actions(tmp_path) == ["avsr/utils.py:3: os.makedirs('runs')"]
    assert badly_named(tmp_path) == ["avsr/utils.py", "avsr/io"]
