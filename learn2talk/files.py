"""The only reader and writer of motions, templates, students and sync experts.

A student is a folder: `student.safetensors` (weights), `student.json` (its kind, its configuration
and where it comes from) and `template.npz` (the neutral face with topology, triangles and regions).
A sync expert is `sync_expert.safetensors` and `sync_expert.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from torch import nn

from avsr.files import (
    load_weights,
    read_json,
    save_weights,
    sha256_file,
    write_atomically,
    write_json,
)
from avsr.weights import fill, one_line
from learn2talk.models.autoregressive import AutoregressiveConfig, AutoregressiveStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.sync_expert import Role, SyncExpertConfig, SyncNet3D
from learn2talk.schema import UNIT, FaceTemplate, Motion

STUDENT_WEIGHTS, STUDENT_INFO, TEMPLATE = "student.safetensors", "student.json", "template.npz"
Network = TypeVar("Network", bound=nn.Module)
AnyStudent = Student | AutoregressiveStudent
# The word in `student.json` for each kind of student, with what builds it.
STUDENTS: dict[str, tuple[type[Any], type[AnyStudent]]] = {
    "student": (StudentConfig, Student),
    "autoregressive": (AutoregressiveConfig, AutoregressiveStudent),
}
EXPERT_WEIGHTS, EXPERT_INFO = "sync_expert.safetensors", "sync_expert.json"


@dataclass(frozen=True, eq=False)
class TrainedStudent:
    """A student with the face it moves.

    model: in evaluation mode. template: neutral face. animated_ids (R,) int32: which vertices the
    model moves; the others stay at the template. provenance: where it comes from, JSON-ready.
    style_names: its known speakers in the order of its styles; empty for a student without styles.
    """

    model: AnyStudent
    template: FaceTemplate
    animated_ids: NDArray[np.int32]
    provenance: Mapping[str, Any]
    style_names: tuple[str, ...] = ()

    def face_of(self, template: FaceTemplate | None) -> FaceTemplate:
        """The neutral face to move: `template`, or the student's own for None.

        Raises:
            ValueError: the template has another topology.
        """
        own = self.template
        face = own if template is None else template
        if (face.topology, len(face.vertices)) != (own.topology, len(own.vertices)):
            raise ValueError(
                f"template has topology {face.topology!r} with {len(face.vertices)} vertices, the "
                f"student moves {own.topology!r} with {len(own.vertices)}; give a template of that "
                "topology"
            )
        return face


def _template_arrays(template: FaceTemplate) -> dict[str, NDArray]:
    arrays: dict[str, NDArray] = {
        "topology": np.array(template.topology),
        "unit": np.array(UNIT),
        "template": template.vertices,
        "triangles": template.triangles,
    }
    return arrays | {f"region/{name}": ids for name, ids in template.regions.items()}


def _template_from(arrays: Mapping[str, NDArray], path: Path) -> FaceTemplate:
    missing = [name for name in ("topology", "unit", "template", "triangles") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}; is it a template or a motion?")
    if str(arrays["unit"]) != UNIT:
        raise ValueError(f"{path}: unit is {arrays['unit']}, not {UNIT}; convert the file")
    regions = {
        name.removeprefix("region/"): ids
        for name, ids in arrays.items()
        if name.startswith("region/")
    }
    try:
        template = FaceTemplate(
            str(arrays["topology"]), arrays["template"], arrays["triangles"], regions
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    finite = np.isfinite(template.vertices).all(axis=1)
    if not finite.all():
        vertex = int(np.flatnonzero(~finite)[0])
        raise ValueError(
            f"{path}: vertex {vertex} of the neutral face is {template.vertices[vertex]}; give a "
            "face without holes in its numbers"
        )
    return template


def _read_npz(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (BadZipFile, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete .npz file ({error}); make it again") from error


def _write_npz(path: Path, arrays: Mapping[str, NDArray]) -> None:
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def save_template(path: Path | str, template: FaceTemplate) -> None:
    """Write a neutral face as `.npz`, atomically."""
    _write_npz(Path(path), _template_arrays(template))


def load_template(path: Path | str) -> FaceTemplate:
    """Read what `save_template` wrote. Raises ValueError naming the file and what is missing."""
    return _template_from(_read_npz(Path(path)), Path(path))


def save_motion(path: Path | str, motion: Motion, provenance: Mapping[str, Any]) -> None:
    """Write a motion as `.npz`, atomically.

    Keys: vertices (T, V, 3) float32 mm, fps, unit, topology, template (V, 3), triangles (F, 3),
    region/<name>, provenance (JSON text); head_pose (T, 6) where the vertices have one.
    """
    arrays = _template_arrays(motion.template) | {
        "vertices": motion.vertices,
        "fps": np.array(motion.fps, dtype=np.float64),
        "provenance": np.array(json.dumps(dict(provenance), ensure_ascii=False, sort_keys=True)),
    }
    if motion.head_pose is not None:
        arrays["head_pose"] = motion.head_pose
    _write_npz(Path(path), arrays)


def load_motion(path: Path | str) -> tuple[Motion, dict[str, Any]]:
    """Read a motion and its provenance. Raises ValueError naming the file and what is wrong."""
    path = Path(path)
    arrays = _read_npz(path)
    missing = [name for name in ("vertices", "fps", "provenance") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}; is it a motion?")
    template, fps = _template_from(arrays, path), float(arrays["fps"])
    try:
        motion = Motion(arrays["vertices"], fps, template, arrays.get("head_pose"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    finite = np.isfinite(motion.vertices).all(axis=2)
    if not finite.all():
        frame, vertex = (int(place) for place in np.argwhere(~finite)[0])
        raise ValueError(
            f"{path}: vertex {vertex} of frame {frame} is {motion.vertices[frame, vertex]}, and "
            f"{int((~finite).sum()) - 1} others are not finite; make the motion again"
        )
    return motion, json.loads(str(arrays["provenance"]))


def save_student(
    folder: Path | str,
    model: AnyStudent,
    template: FaceTemplate,
    animated_ids: NDArray[np.int32],
    provenance: Mapping[str, Any],
    style_names: Sequence[str] = (),
) -> None:
    """Write a student as a folder that `load_student` reads; the JSON file is written last.

    Raises:
        ValueError: not one name for each style of the model.
    """
    folder = Path(folder)
    if len(style_names) != model.config.num_styles:
        raise ValueError(
            f"{folder}: {len(style_names)} names for {model.config.num_styles} styles; give one "
            "for each"
        )
    save_weights(folder / STUDENT_WEIGHTS, model.state_dict())
    save_template(folder / TEMPLATE, template)
    info = {
        "kind": next(kind for kind, (_, made) in STUDENTS.items() if type(model) is made),
        "config": asdict(model.config),
        **({"style_names": list(style_names)} if style_names else {}),
        "animated_ids": [int(index) for index in animated_ids],
        "weights_sha256": sha256_file(folder / STUDENT_WEIGHTS),
        "provenance": dict(provenance),
    }
    write_json(folder / STUDENT_INFO, info)


def _read_info(folder: Path, name: str, kind: str) -> dict[str, Any]:
    if not (folder / name).is_file():
        raise ValueError(f"{folder}: has no {name}; give the folder of a trained {kind}")
    info: Any = read_json(folder / name)
    needed = {"config": dict, "weights_sha256": str, "provenance": dict}
    if kind == "student":
        needed["animated_ids"] = list
    found: dict[str, Any] = info if isinstance(info, dict) else {}
    wrong = [key for key, kind_of in needed.items() if not isinstance(found.get(key), kind_of)]
    if wrong:
        raise ValueError(
            f"{folder / name}: {', '.join(wrong)} missing or of a wrong type; give the folder of a "
            f"trained {kind}"
        )
    return found


def _network(path: Path, build: Callable[[], Network], state: Mapping[str, Any]) -> Network:
    try:
        model = build()
    except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: its config does not fit ({one_line(error)})") from error
    fill(model, state, path)
    return model


def _check_weights(path: Path, wanted: str) -> None:
    if path.is_file() and sha256_file(path) != wanted:
        raise ValueError(
            f"{path}: is not the file that the JSON beside it describes (sha256 differs); copy "
            "the whole folder again"
        )


def load_student(folder: Path | str) -> TrainedStudent:
    """Read a trained student of any kind onto the CPU, in evaluation mode.

    Raises:
        ValueError: a file is missing, truncated, or belongs to another student.
    """
    folder = Path(folder)
    info = _read_info(folder, STUDENT_INFO, "student")
    if info.get("kind") not in STUDENTS:
        raise ValueError(
            f"{folder / STUDENT_INFO}: holds a {info.get('kind')!r}, not one of "
            f"{', '.join(STUDENTS)}; give the folder of a trained student"
        )
    config_class, model_class = STUDENTS[info["kind"]]
    _check_weights(folder / STUDENT_WEIGHTS, info["weights_sha256"])
    state, _ = load_weights(folder / STUDENT_WEIGHTS)
    model: AnyStudent = _network(
        folder / STUDENT_WEIGHTS,
        lambda: model_class(config_class(**info["config"]), len(info["animated_ids"])),
        state,
    )
    names = _style_names(folder / STUDENT_INFO, info, model.config.num_styles)
    template = load_template(folder / TEMPLATE)
    ids = info["animated_ids"]
    if not all(type(i) is int and 0 <= i < len(template.vertices) for i in ids):
        raise ValueError(
            f"{folder / STUDENT_INFO}: animated_ids are not vertices of the template's "
            f"{len(template.vertices)}; copy the whole folder again"
        )
    provenance = dict(info["provenance"]) | {"student_sha256": info["weights_sha256"]}
    return TrainedStudent(
        model=model.eval(),
        template=template,
        animated_ids=np.asarray(ids, dtype=np.int32),
        provenance=provenance,
        style_names=names,
    )


def _style_names(path: Path, info: Mapping[str, Any], num_styles: int) -> tuple[str, ...]:
    names = info.get("style_names", [])
    fits = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not fits or len(set(names)) != len(names) or len(names) != num_styles:
        raise ValueError(
            f"{path}: style_names are not {num_styles} different names; copy the whole folder again"
        )
    return tuple(names)


def save_sync_expert(folder: Path | str, model: SyncNet3D, provenance: Mapping[str, Any]) -> None:
    """Write a sync expert with its role as a folder that `load_sync_expert` reads."""
    folder = Path(folder)
    save_weights(folder / EXPERT_WEIGHTS, model.state_dict())
    info = {
        "kind": "sync_expert",
        "config": asdict(model.config),
        "weights_sha256": sha256_file(folder / EXPERT_WEIGHTS),
        "provenance": dict(provenance),
    }
    write_json(folder / EXPERT_INFO, info)


def load_sync_expert(folder: Path | str, role: Role) -> tuple[SyncNet3D, dict[str, Any]]:
    """Read a sync expert for one use, onto the CPU, frozen and in evaluation mode.

    Args:
        folder: where `save_sync_expert` wrote it.
        role: what it is wanted for. The network that scores is never the one that was a loss.

    Returns:
        The network and its provenance, with `weights_sha256`.

    Raises:
        ValueError: it was trained for the other role, or a file is missing or truncated.
    """
    folder = Path(folder)
    info = _read_info(folder, EXPERT_INFO, "sync expert")
    try:
        config = SyncExpertConfig(**info["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / EXPERT_INFO}: its config does not fit ({error})") from error
    if config.role != role:
        raise ValueError(
            f"{folder}: this sync expert is a {config.role!r} and was asked to be a {role!r}; "
            f"give the folder of one that was trained with --model.role {role}"
        )
    _check_weights(folder / EXPERT_WEIGHTS, info["weights_sha256"])
    state, _ = load_weights(folder / EXPERT_WEIGHTS)
    model = _network(folder / EXPERT_WEIGHTS, lambda: SyncNet3D(config), state)
    model.requires_grad_(False)
    return model.eval(), dict(info["provenance"]) | {"weights_sha256": info["weights_sha256"]}
