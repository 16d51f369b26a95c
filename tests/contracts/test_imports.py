"""Imports point one way, and nothing at levels 0 to 2 can reach a disk."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.contracts.checker import (
    LAST_PURE_LEVEL,
    LEVELS,
    PACKAGES,
    Import,
    component,
    expect_none,
    imports_of,
    module_name,
    python_files,
)

REACHES_THE_WORLD = {
    *("os", "pathlib", "shutil", "glob", "tempfile", "subprocess", "socket", "urllib"),
    *("http", "mmap", "sqlite3", "pickle", "random", "secrets", "time", "datetime", "argparse"),
    *(
        "av",
        "soundfile",
        "safetensors",
        "datasets",
        "accelerate",
        "tyro",
        "tqdm",
        "espeakng_loader",
    ),
}
READS_OR_WRITES = {
    "open",
    "input",
    "print",
    "np.load",
    "np.save",
    "np.savez",
    "torch.load",
    "torch.save",
}
DRAWS = {
    f"torch.{name}"
    for name in ("rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal")
}
HIDDEN_STATE = re.compile(r"(np|numpy)\.random\.(?!default_rng)[a-z_]+")
ONLY_IN_EXTRAS = {"mediapipe", "matplotlib", "cv2", "espeakng_loader"}


def wrong_directions(root: Path) -> list[str]:
    """One line for every import of our own modules that points the wrong way."""
    found: list[str] = []
    edges: dict[str, set[str]] = {}
    for path in python_files(root, *PACKAGES):
        for one in imports_of(root, path):
            reason = _why_wrong(one)
            if reason:
                where = f"{path.relative_to(root)}:{one.line}"
                found.append(f"{where}: {one.module} imports {one.target}: {reason}")
            elif _ours(one.target) and one.module not in PACKAGES:
                edges.setdefault(component(one.module), set()).add(component(one.target))
    found += [f"circle: {' -> '.join(circle)}" for circle in _circles(edges)]
    return found


def _ours(target: str) -> bool:
    return target.split(".")[0] in PACKAGES


def _why_wrong(one: Import) -> str | None:
    top = one.target.split(".")[0]
    if top in ("tests", "recipes", "benchmarks"):
        return f"{top} is imported by nobody"
    if not _ours(one.target):
        return None
    source, target = component(one.module), component(one.target)
    if source.startswith("avsr") and top == "learn2talk":
        return "avsr does not know who made the motion"
    if source in PACKAGES or target in PACKAGES:  # a package's own __init__, which loads nothing
        return None
    for name in (source, target):
        if name not in LEVELS:
            return f"{name} has no level: give it one in tests/contracts/checker.py"
    if LEVELS[target] > LEVELS[source]:
        return f"level {LEVELS[source]} may not import level {LEVELS[target]}"
    kinds = source.split(".")[1], target.split(".")[1]
    if LEVELS[source] == LEVELS[target] == 2 and kinds[0] != kinds[1]:
        return f"{kinds[0]} and {kinds[1]} do not know each other"
    return None


def _circles(edges: dict[str, set[str]]) -> list[list[str]]:
    circles: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            circles.append([*trail[trail.index(name) :], name])
        elif name not in done:
            for target in sorted(edges.get(name, set()) - {name}):
                visit(target, [*trail, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return circles


def impurities(root: Path) -> list[str]:
    """One line for everything at levels 0 to 2 that reaches a disk, a clock or hidden chance."""
    found: list[str] = []
    for path in python_files(root, *PACKAGES):
        if LEVELS.get(component(module_name(root, path)), LAST_PURE_LEVEL + 1) > LAST_PURE_LEVEL:
            continue
        where = path.relative_to(root)
        for one in imports_of(root, path):
            if one.target.split(".")[0] in REACHES_THE_WORLD:
                found.append(f"{where}:{one.line}: imports {one.target}")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{where}:{line}: {what}" for line, what in _impure_calls(tree)]
    return found


def _impure_calls(tree: ast.Module) -> list[tuple[int, str]]:
    # A parameter's first value is drawn from the seeded state of torch, as in every torch layer.
    parameters = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("nn.Parameter")
        for inner in ast.walk(node)
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in READS_OR_WRITES:
            found.append((node.lineno, f"calls {called}"))
        if HIDDEN_STATE.fullmatch(called):
            found.append((node.lineno, f"{called} draws from hidden state"))
        with_generator = any(word.arg == "generator" for word in node.keywords)
        if called in DRAWS and not with_generator and id(node) not in parameters:
            found.append((node.lineno, f"{called} without generator="))
    return found


def extras_at_the_top(root: Path) -> list[str]:
    """One line for every import of an optional library that runs when its module loads."""
    return [
        f"{path.relative_to(root)}:{one.line}: {one.target} outside the function that uses it"
        for path in python_files(root, *PACKAGES)
        for one in imports_of(root, path)
        if one.at_top and one.target.split(".")[0] in ONLY_IN_EXTRAS
    ]


def test_imports_point_one_way(repository: Path) -> None:
    expect_none(wrong_directions(repository))


def test_pure_levels_reach_no_disk(repository: Path) -> None:
    expect_none(impurities(repository))


def test_optional_libraries_are_imported_where_they_are_needed(repository: Path) -> None:
    expect_none(extras_at_the_top(repository))


def test_every_module_has_a_level(repository: Path) -> None:
    names = {
        component(module_name(repository, path)) for path in python_files(repository, *PACKAGES)
    }
    assert names - set(PACKAGES) - set(LEVELS) == set()


def test_the_levels_are_those_of_contributing(repository: Path) -> None:
    """CONTRIBUTING.md draws what there is; a level may be kept here for a part still to come."""
    drawn: dict[str, int] = {}
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        level = re.match(r"    ([0-7])  (avsr|learn2talk): +(.+)", line)
        if level:
            drawn |= {f"{level[2]}.{name}": int(level[1]) for name in level[3].split()}
    there = {
        component(module_name(repository, path)) for path in python_files(repository, *PACKAGES)
    }
    assert drawn == {name: LEVELS[name] for name in there - set(PACKAGES)}


CHEATS = {
    "avsr/audio.py": ("from avsr.files import read_audio", "level 1 may not import level 3"),
    "avsr/video.py": ("def f():\n    from avsr import tracking", "level 1 may not import level 3"),
    "avsr/noise.py": ("from . import cli", "level 1 may not import level 7"),
    "avsr/text.py": (
        "import importlib\nm = importlib.import_module('avsr.data')",
        "may not import level 4",
    ),
    "avsr/models/fusion.py": ("import avsr.losses", "models and losses do not know each other"),
    "avsr/losses.py": ("from .models import fusion", "losses and models do not know each other"),
    "avsr/score.py": ("from learn2talk.metrics import x", "does not know who made the motion"),
    "avsr/report.py": ("import tests.conftest", "tests is imported by nobody"),
    "learn2talk/head.py": (
        "from avsr.training.loop import train",
        "level 1 may not import level 5",
    ),
    "avsr/newcomer.py": ("import avsr.units", "avsr.newcomer has no level"),
}


def house(root: Path, extra: dict[str, str]) -> Path:
    for name in LEVELS:
        folder = root.joinpath(*name.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    for name, text in extra.items():
        path = root / name
        stub = path.with_suffix("")
        if (stub / "__init__.py").is_file():
            path = stub / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_wrong_direction_is_seen(tmp_path: Path, cheat: str) -> None:
    text, reason = CHEATS[cheat]
    if cheat in (
        "avsr/noise.py",
        "avsr/losses.py",
    ):  # relative imports: a package counts one dot more
        text = text.replace("from .", "from ..", 1)
    found = wrong_directions(house(tmp_path, {cheat: text}))
    assert len(found) == 1
    assert reason in found[0]


def test_a_house_without_cheats_passes(tmp_path: Path) -> None:
    root = house(
        tmp_path, {"learn2talk/animate.py": "from avsr.files import read_audio\nimport avsr"}
    )
    assert wrong_directions(root) == []
    assert impurities(root) == []
    assert extras_at_the_top(root) == []


def test_a_circle_within_a_level_is_seen(tmp_path: Path) -> None:
    text = {"avsr/data/x.py": "import avsr.corpora", "avsr/corpora/y.py": "import avsr.data.x"}
    assert wrong_directions(house(tmp_path, text)) == [
        "circle: avsr.corpora -> avsr.data -> avsr.corpora"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from pathlib import Path",
        "def f():\n    import os\n    return os.environ",
        "x = open('a').read()",
        "import numpy as np\nx = np.random.randn(3)",
        "import torch\nx = torch.rand(3)",
    ],
)
def test_an_impure_module_is_seen(tmp_path: Path, text: str) -> None:
    assert len(impurities(house(tmp_path, {"avsr/models/layers.py": text}))) == 1
    assert impurities(house(tmp_path / "edge", {"avsr/data/layers.py": text})) == []


def test_an_optional_library_at_the_top_is_seen(tmp_path: Path) -> None:
    late = "def f():\n    import mediapipe"
    assert extras_at_the_top(house(tmp_path, {"avsr/tracking/a.py": late})) == []
    assert len(extras_at_the_top(house(tmp_path, {"avsr/tracking/b.py": "import mediapipe"}))) == 1
