"""Every field of every configuration is read somewhere: no option that does nothing."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.contracts.checker import PACKAGES, expect_none, python_files

FOLDERS = (*PACKAGES, "recipes", "benchmarks")


def config_classes(root: Path) -> dict[str, list[str]]:
    """``avsr/models/recognizer.py:RecognizerConfig`` -> the names of its own fields."""
    found: dict[str, list[str]] = {}
    for path in python_files(root, *FOLDERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                fields = [
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and "ClassVar" not in ast.unparse(item.annotation)
                ]
                found[f"{path.relative_to(root)}:{node.name}"] = fields
    return found


def names_read(root: Path) -> set[str]:
    """Every attribute read anywhere; a ``__post_init__`` that only checks does not count."""
    names: set[str] = set()
    for path in python_files(root, *FOLDERS):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        checks = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
            for inner in ast.walk(node)
        }
        names |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and id(node) not in checks
        }
    return names


def unread_fields(root: Path) -> list[str]:
    read = names_read(root)
    return [
        f"{name}.{f}"
        for name, fields in config_classes(root).items()
        for f in fields
        if f not in read
    ]


def not_frozen(root: Path) -> list[str]:
    """Every configuration class that is not a frozen dataclass."""
    found: list[str] = []
    for path in python_files(root, *FOLDERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                decorators = " ".join(ast.unparse(d) for d in node.decorator_list)
                if "dataclass" not in decorators or "frozen=True" not in decorators:
                    found.append(f"{path.relative_to(root)}:{node.lineno}: {node.name}")
    return found


def test_every_config_field_is_read(repository: Path) -> None:
    expect_none(unread_fields(repository))


def test_every_config_is_a_frozen_dataclass(repository: Path) -> None:
    expect_none(not_frozen(repository))


def test_there_are_configs_to_check(repository: Path) -> None:
    assert {"TrainConfig", "RecognizerConfig"} <= {
        name.split(":")[1] for name in config_classes(repository)
    }


def test_an_unread_field_is_seen(tmp_path: Path) -> None:
    (tmp_path / "avsr").mkdir()
    (tmp_path / "avsr" / "thing.py").write_text(
        "@dataclass(frozen=True)\nclass ThingConfig:\n    width: int = 3\n    depth: int = 4\n"
        "    def __post_init__(self):\n        assert self.depth > 0\n"
        "def make(config):\n    return config.width\n"
        "@dataclass\nclass LooseConfig:\n    width: int = 3\n"
    )
    assert unread_fields(tmp_path) == ["avsr/thing.py:ThingConfig.depth"]
    assert not_frozen(tmp_path) == ["avsr/thing.py:10: LooseConfig"]
