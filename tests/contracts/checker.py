"""What the contract tests share: the files of the checkout, and the imports that a module makes."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("avsr", "learn2talk")

# The direction of imports that CONTRIBUTING.md draws: a module imports its own level or lower ones.
LEVELS = {
    name: level
    for level, names in enumerate(
        (
            "avsr.units avsr.schema learn2talk.schema",
            "avsr.subtitles avsr.synchrony avsr.audio avsr.video avsr.noise avsr.reverberation"
            " avsr.video_conditions avsr.spoken_numbers avsr.text"
            " learn2talk.mesh learn2talk.head learn2talk.articulation"
            " learn2talk.rasterize learn2talk.visibility learn2talk.drawing"
            " learn2talk.contours learn2talk.resampling learn2talk.head_pose learn2talk.blinks",
            "avsr.models avsr.losses avsr.metrics avsr.decode"
            " learn2talk.models learn2talk.losses learn2talk.balance learn2talk.metrics",
            "avsr.files avsr.weights avsr.tracking avsr.face_tracks"
            " learn2talk.files learn2talk.default_student learn2talk.default_lip_reader"
            " learn2talk.default_judge learn2talk.default_avatar learn2talk.mouth_files"
            " learn2talk.fitting learn2talk.lip_reading"
            " learn2talk.mesh_files learn2talk.plain_pickles learn2talk.region_files"
            " learn2talk.topology_regions learn2talk.topologies learn2talk.network_folders"
            " learn2talk.head_motion_files",
            "avsr.corpora avsr.data avsr.pretrained learn2talk.corpora learn2talk.data",
            "avsr.training learn2talk.training learn2talk.pretraining learn2talk.teacher_training"
            " learn2talk.autoregressive_training learn2talk.lip_reader_training"
            " learn2talk.head_motion_training",
            "avsr.threads avsr.live avsr.live_mouth avsr.stream"
            " avsr.long_form avsr.transcript_files avsr.transcribe_imported"
            " avsr.transcribe avsr.evaluate avsr.export avsr.evaluate_whisper avsr.conditions"
            " avsr.shared_work avsr.noisy_test avsr.noisy_test_building avsr.noisy_test_files"
            " avsr.noisy_test_audit avsr.noisy_test_decoding avsr.hypothesis_files avsr.score_files"
            " avsr.compare avsr.summaries avsr.adapters avsr.sound_lists avsr.recognize_files"
            " avsr.audit avsr.score"
            " avsr.arm_labels avsr.plot avsr.tables avsr.latex_tables avsr.transcripts"
            " avsr.report_samples avsr.report_sections avsr.report"
            " learn2talk.render learn2talk.animate learn2talk.animation_files"
            " learn2talk.streaming learn2talk.evaluate learn2talk.readability"
            " learn2talk.face_benchmark learn2talk.export learn2talk.avatar learn2talk.viewer"
            " learn2talk.sync_checks learn2talk.teacher learn2talk.closed_loop learn2talk.presets"
            " learn2talk.closed_loop_report learn2talk.stages learn2talk.liveliness"
            " learn2talk.augmentation_study learn2talk.closed_loop_benchmark"
            " learn2talk.ablation learn2talk.ablation_pictures",
            "avsr.command_line avsr.commands avsr.cli learn2talk.commands learn2talk.cli",
        )
    )
    for name in names.split()
}
LAST_PURE_LEVEL = 2


def expect_none(found: list[str]) -> None:
    """Fail with every finding in full, one a line."""
    assert not found, f"{len(found)} found:\n" + "\n".join(found)


@dataclass(frozen=True)
class Import:
    """One import: who makes it, of what, where, and whether it runs as soon as the module loads."""

    module: str
    target: str
    line: int
    at_top: bool


def python_files(root: Path, *folders: str) -> list[Path]:
    """Every Python file under the folders of ``root`` that exist."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def tracked_files(root: Path) -> list[Path]:
    """Every file that git tracks and that is there, relative to ``root``."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    paths = [Path(name) for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if (root / path).is_file()]


def module_name(root: Path, path: Path) -> str:
    """``avsr/models/fusion.py`` -> ``avsr.models.fusion``; ``avsr/__init__.py`` -> ``avsr``."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def component(module: str) -> str:
    """The first two names of a module of ours: ``avsr.models.fusion`` -> ``avsr.models``."""
    return ".".join(module.split(".")[:2])


def imports_of(root: Path, path: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions and ``import_module("...")`` included."""
    name = module_name(root, path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for target in dict.fromkeys(_targets(root, package, node)):
            yield Import(name, target, getattr(node, "lineno", 0), id(node) not in late)


def _targets(root: Path, package: str, node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        # `from avsr import files` names a module; `from avsr.files import read_audio` does not.
        return [
            f"{base}.{a.name}" if _is_module(root, f"{base}.{a.name}") else base for a in node.names
        ]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func)
        if called in ("importlib.import_module", "import_module", "__import__"):
            return [str(node.args[0].value)]
    return []


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
