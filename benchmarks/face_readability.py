"""What is read in talking faces on GRID: the bundled student, the tracked truth, real films.

    AVSR_DATA=/path/to/data python benchmarks/face_readability.py --prepared runs/faces/grid

Lays the test sentences of a prepared GRID with motion of the built-in head (`learn2talk prepare
tracked`) out as folders that anybody could have, and gives them to `learn2talk readability`:
the tracked faces as the truth, the same on ICT-FaceKit's mesh as .npy in centimetres (what does
another topology cost?), the bundled student's faces made from the sound, and the real films. Writes
``benchmarks/results/face_readability.json`` and, from it, ``face_readability.md``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.corpora.clips import file_stem  # noqa: E402
from avsr.data.manifest import PreparedUtterance, decode_row, load_prepared  # noqa: E402
from avsr.files import write_atomically, write_json, write_wav  # noqa: E402
from avsr.tracking import find_face_landmarker  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from learn2talk.animate import animate  # noqa: E402
from learn2talk.data.motion import load_templates  # noqa: E402
from learn2talk.default_student import default_student  # noqa: E402
from learn2talk.export.retarget import retarget  # noqa: E402
from learn2talk.export.transfer import make_transfer  # noqa: E402
from learn2talk.face_benchmark.inputs import CONTROLS  # noqa: E402
from learn2talk.face_benchmark.outputs import page  # noqa: E402
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces  # noqa: E402
from learn2talk.files import load_student, save_motion  # noqa: E402
from learn2talk.schema import FaceTemplate, Motion  # noqa: E402
from learn2talk.topologies import known_face  # noqa: E402

ICT = "ict_facekit_26719"
FPS = 25.0


def main(
    prepared: Path,
    data: Path | None = None,
    utterances: int = 100,
    split: str = "test",
    lip_reader: Path | None = None,
    judge: Path | None = None,
    processes: int = 2,
    work: Path = Path("runs/face_readability"),
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the faces of GRID.

    Args:
        prepared: GRID with motion of the built-in head.
        data: folder with grid/ and mediapipe_face/, and where it is there ict_facekit/; default:
            AVSR_DATA.
        utterances: the first so many of the split.
        split: train, valid or test.
        lip_reader: in place of the bundled one.
        judge: in place of the bundled one.
        processes: that share the work.
        work: folder of what is made on the way; the same command goes on where it was stopped.
        out: folder of face_readability.json and face_readability.md.
    """
    use_one_thread()
    started = time.monotonic()
    data = data or Path(os.environ.get("AVSR_DATA", ""))
    if not (data / "grid").is_dir():
        raise ValueError(f"{data}: has no grid; give --data, or set AVSR_DATA")
    given = lay_out(prepared, data, split, utterances, work)
    report = benchmark_faces(
        FaceBenchmark(
            audio=work / "audio",
            text=work / "text.tsv",
            out=work / "report",
            motions=tuple(given["motions"]),
            videos=tuple(given["videos"]),
            truth=work / "tracked",
            template=data / "ict_facekit",
            lip_readers=() if lip_reader is None else (lip_reader,),
            bundled_reader=lip_reader is None,
            judge=judge,
            phones=work / "phones",
            landmarker_model=find_face_landmarker(data),
            processes=processes,
        )
    )
    report = published(report, time.monotonic() - started)
    write_json(out / "face_readability.json", report)
    with write_atomically(out / "face_readability.md") as temporary:
        temporary.write_text(text_of(report), encoding="utf-8")
    print(f"written {out / 'face_readability.md'}")


def lay_out(
    prepared: Path, data: Path, split: str, utterances: int, work: Path
) -> dict[str, list[Path]]:
    """Folders as anybody has them; what is there already is left.

    Returns:
        folders of motions and of films.
    """
    templates = load_templates(prepared)
    chosen = list(_first(prepared, split, utterances))
    lines = ["utterance_id\ttext\tspeaker_id"]
    lines += [f"{one.utterance_id}\t{one.text}\t{one.speaker_id}" for one in chosen]
    _write(work / "text.tsv", "\n".join(lines) + "\n")
    folders = {"motions": [work / "bundled_student"], "videos": [work / "real_films"]}
    ict = None
    if (data / "ict_facekit").is_dir():
        ict = known_face(ICT, data / "ict_facekit").template
        folders["motions"].append(work / "tracked_on_ict")
        about = {"unit": "cm", "fps": FPS, "topology": ICT, "source": "the tracked truth, carried"}
        _write(work / "tracked_on_ict" / "motion.json", json.dumps(about))
    student = load_student(default_student())
    facts = {"source": "the bundled student, from the sound"}
    _write(work / "bundled_student" / "motion.json", json.dumps(facts))
    for one in chosen:
        stem = file_stem(one.utterance_id)
        if not (work / "audio" / f"{stem}.wav").is_file():
            write_wav(work / "audio" / f"{stem}.wav", one.audio)
        _write(work / "phones" / f"{stem}.tsv", _phones(one))
        motion = Motion(one.vertices, FPS, templates[one.speaker_id])
        if not (work / "tracked" / f"{stem}.npz").is_file():
            save_motion(work / "tracked" / f"{stem}.npz", motion, {"made_by": "prepare tracked"})
        made = work / "bundled_student" / f"{stem}.npz"
        if not made.is_file():
            told = {"student": {k: v for k, v in student.provenance.items() if k != "excluded"}}
            save_motion(made, animate(one.audio, student), told)
        if ict is not None:
            _on_ict(motion, ict, work / "tracked_on_ict" / f"{stem}.npy")
        film = work / "real_films" / f"{stem}.mp4"
        film.parent.mkdir(parents=True, exist_ok=True)
        if not film.is_symlink():
            speaker, code = one.utterance_id.split("/")
            film.symlink_to((data / "grid" / speaker / "video" / f"{code}.mp4").resolve())
    return folders


def _first(prepared: Path, split: str, count: int) -> Iterator[PreparedUtterance]:
    for number, row in enumerate(load_prepared(prepared, split)):
        if number == count:
            return
        yield decode_row(row)


def _phones(one: PreparedUtterance) -> str:
    """Phone times where the corpus has them, else word times."""
    if one.phones:
        rows = [("phone", "start_s", "end_s")]
        rows += [(p.phone, f"{p.start_s:.4f}", f"{p.end_s:.4f}") for p in one.phones]
    else:
        rows = [("word", "start_s", "end_s")]
        rows += [(w.word, f"{w.start_s:.4f}", f"{w.end_s:.4f}") for w in one.words]
    return "".join("\t".join(row) + "\n" for row in rows)


_TRANSFERS: dict[bytes, Any] = {}


def _on_ict(motion: Motion, face: FaceTemplate, path: Path) -> None:
    if path.is_file():
        return
    key = motion.template.vertices.tobytes()
    if key not in _TRANSFERS:
        _TRANSFERS[key] = make_transfer(motion.template, face)
    carried, _ = retarget(motion, face, _TRANSFERS[key])
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, (carried.vertices / 10.0).astype(np.float32), allow_pickle=False)


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def published(report: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The report as it is published: no path of the machine, no confusion of controls."""
    found: dict[str, Any] = scrubbed(report)
    for reading in found["readings"].values():
        own = reading["confusion"]
        reading["confusion"] = {face: one for face, one in own.items() if face not in CONTROLS}
    return {**found, "seconds": round(seconds, 1)}


def text_of(report: Mapping[str, Any]) -> str:
    """The page, from its JSON."""
    said = (
        "GRID, test sentences of **one speaker, 51 words, closed grammar**; the lip reader and the "
        "judge learned from other sentences of this speaker and from synthetic talkers. Made in "
        f"{report['seconds'] / 60:.1f} minutes by `benchmarks/face_readability.py`."
    )
    title, _, rest = page(report).partition("\n")
    return f"{title}\n\n{said}\n{rest}"


if __name__ == "__main__":
    run_command(main)
