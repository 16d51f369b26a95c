"""Avatars from GRID films: how like the film, driven by other speech, read by a lip reader.

    AVSR_DATA=/path/to/data python benchmarks/talking_avatar.py all --work runs/talking_avatar

Stages, each of which goes on where it was stopped: ``build`` (an avatar from one film each of three
speakers, and one of the first speaker from eight films), ``films`` (test films spoken by that
avatar: driven by the tracked face, by the sound, by another film's sound), ``read`` (the bundled
lip reader on these films), ``report``. Writes ``benchmarks/results/talking_avatar.json`` and, from
it, ``talking_avatar.md``. No film, sound or picture of GRID is written there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from tyro.conf import Positional  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import (  # noqa: E402
    read_audio,
    read_json,
    stream_video,
    write_atomically,
    write_json,
    write_video,
    write_wav,
)
from avsr.tracking import find_face_landmarker  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.avatars import mean_with_interval, text_of  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from learn2talk.animate import animate  # noqa: E402
from learn2talk.avatar.avatar_files import Avatar, load_avatar  # noqa: E402
from learn2talk.avatar.avatar_film import draw_avatar, motion_on_avatar  # noqa: E402
from learn2talk.avatar.build import (  # noqa: E402
    BuildConfig,
    backdrop_of_person,
    build_avatar,
    write_built,
)
from learn2talk.avatar.contact_sheet import sheet_of, write_png  # noqa: E402
from learn2talk.avatar.even_choice import evenly  # noqa: E402
from learn2talk.avatar.films import FilmConfig, Shot, TrackedPerson, track_person  # noqa: E402
from learn2talk.avatar.lip_sync import lip_sync  # noqa: E402
from learn2talk.avatar.quality import picture_quality, quality_facts  # noqa: E402
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces  # noqa: E402
from learn2talk.fitting.procedural import head_model  # noqa: E402
from learn2talk.schema import Motion  # noqa: E402

FPS = 25.0
FROM_EIGHT = "s1_eight"
DRIVEN = ("tracked", "speech", "other_speech", "still_avatar")


def main(
    stage: Positional[Literal["build", "films", "read", "report", "all"]] = "all",
    work: Path = Path("runs/talking_avatar"),
    data: Path | None = None,
    utterances: int = 20,
    steps: int = 1500,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure avatars of GRID's speakers.

    Args:
        stage: what to do; "all" does one after the other.
        work: folder of avatars and films; they hold a real person's face and stay there.
        data: folder with grid/ and mediapipe_face/; default: AVSR_DATA.
        utterances: test films, so many of the same sitting.
        steps: updates of each avatar.
        out: folder of talking_avatar.json and talking_avatar.md.
    """
    use_one_thread()
    found = data or Path(os.environ.get("AVSR_DATA", ""))
    if not (found / "grid").is_dir():
        print(f"{found}: has no grid, of which avatars are made; give --data, or set AVSR_DATA")
        return
    sitting = _sitting(found, work, utterances)
    tests = [(code, text) for code, text in sitting["test"]]
    if stage in ("build", "all"):
        build(found, sitting, work, steps)
    if stage in ("films", "all"):
        films(found, tests, work)
    if stage in ("read", "all"):
        read(found, tests, work)
    if stage in ("report", "all"):
        report(work, tests, out)


def _splits(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Split -> (code, text) of speaker s1's clips, in the order of the table."""
    lines = (data / "grid" / "splits.tsv").read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    found: dict[str, list[tuple[str, str]]] = {}
    for line in lines[1:]:
        row = dict(zip(names, line.split("\t"), strict=False))
        if row["speaker"] == "s1" and not row.get("note"):
            code = row["utterance_id"].split("/")[1]
            found.setdefault(row["split"], []).append((code, row["text"]))
    return found


def _sitting(data: Path, work: Path, utterances: int) -> dict[str, list[list[str]]]:
    """Films of one sitting, as (code, text): an avatar is of one scene, and s1 sat several times.

    Those of the test split, and eight of every tenth of the train split, whose pictures are nearest
    to the first test film's, at a quarter of the size; written down, so that every stage has them.
    """
    path = work / "sitting.json"
    if path.is_file():
        found: dict[str, list[list[str]]] = read_json(path)
        return found
    splits = _splits(data)
    first = _small_picture(_clip(data, splits["test"][0][0]))

    def nearest(rows: Sequence[tuple[str, str]], count: int) -> list[list[str]]:
        away = [float(np.abs(_small_picture(_clip(data, code)) - first).mean()) for code, _ in rows]
        return [list(rows[i]) for i in sorted(np.argsort(away, kind="stable")[:count].tolist())]

    sitting = {
        "test": nearest(splits["test"], utterances),
        "train": nearest(splits["train"][::10], 8),
    }
    write_json(path, sitting)
    return sitting


def _small_picture(path: Path) -> NDArray[np.float64]:
    """A picture from the beginning of a film, every fourth pixel of it."""
    picture = next(iter(stream_video(path)))
    small: NDArray[np.float64] = picture[::4, ::4].astype(np.float64)
    return small


def _clip(data: Path, code: str) -> Path:
    return data / "grid" / "s1" / "video" / f"{code}.mp4"


def build(
    data: Path, sitting: Mapping[str, Sequence[Sequence[str]]], work: Path, steps: int
) -> None:
    """The avatars, each with its figures on the held-out end of its own films."""
    landmarker = _landmarker(data)
    wanted = {
        "s1_one": [_clip(data, sitting["test"][0][0])],
        FROM_EIGHT: [_clip(data, code) for code, _ in sitting["train"]],
        **{f"other_{p.stem}": [p] for p in sorted((data / "grid" / "others").glob("*.mpg"))},
    }
    for name, clips in wanted.items():
        path = work / "avatars" / f"{name}.ply"
        if path.with_suffix(".json").is_file():
            continue
        config = BuildConfig()
        config = replace(config, training=replace(config.training, steps=steps))
        built = build_avatar(clips, landmarker, config)
        write_built(path, built)
        chosen = [built.held_out[i] for i in evenly(len(built.held_out), 4)]
        truth = [built.person.films[s.film].pictures[s.frame] for s in chosen]
        sheet = sheet_of([truth, [built.draw(s) for s in chosen]])
        write_png(path.with_suffix(".png"), sheet)
        print(f"written {path}", flush=True)


def _landmarker(data: Path) -> Path:
    found = find_face_landmarker(data)
    if found is None:
        raise ValueError("no face_landmarker.task; run 'avsr fetch face-landmarker'")
    return found


def films(data: Path, tests: Sequence[tuple[str, str]], work: Path) -> None:
    """Test films spoken by the avatar of eight other films, and what they are like."""
    avatar, landmarker = load_avatar(work / "avatars" / f"{FROM_EIGHT}.ply"), _landmarker(data)
    for number, (code, _) in enumerate(tests):
        facts = work / "films" / f"{code}.json"
        if facts.is_file():
            continue
        other = tests[(number + 1) % len(tests)][0]
        found = _film(data, avatar, landmarker, code, other, work)
        write_json(facts, found)
        print(f"written {facts}", flush=True)


def _film(
    data: Path, avatar: Avatar, landmarker: Path, code: str, other: str, work: Path
) -> dict[str, Any]:
    """One test film: four films of the avatar, their likeness, and sound against lips."""
    clip, config = _clip(data, code), FilmConfig()
    person = track_person([clip], landmarker, head_model(), config, lambda _: None)
    film, sound = person.films[0], read_audio(clip)
    count = len(film.vertices)
    motions = {
        "tracked": Motion(film.vertices, FPS, person.template),
        "speech": animate(sound),
        "other_speech": animate(read_audio(_clip(data, other))),
    }
    vertices = {name: _of_length(avatar, motion, count) for name, motion in motions.items()}
    vertices["still_avatar"] = np.repeat(avatar.template.vertices[None], count, axis=0)
    cameras = [person.camera_of(0, frame) for frame in range(count)]
    shots = [Shot(0, int(frame)) for frame in np.flatnonzero(film.tracked)]
    backdrop = backdrop_of_person(person, shots)
    quality, offsets = {}, {}
    _save_sound(work / "audio" / f"{code}.wav", sound)
    for name in DRIVEN:
        drawn = draw_avatar(avatar, vertices[name], cameras, background=avatar.background)
        pictures = np.stack(list(drawn))
        quality[name] = picture_quality(person, backdrop, shots, partial(_picture, pictures))
        target = work / name / f"{code}.mp4"
        write_video(target, pictures, round(FPS), np.clip(sound, -1.0, 1.0))
        offsets[name] = _offset_in(target, landmarker, sound)
    still = np.median(film.pictures, axis=0).astype(np.uint8)
    quality["median_of_the_film"] = picture_quality(person, backdrop, shots, lambda _: still)
    offsets["real"] = _offset_of(person, sound)
    real = work / "real" / f"{code}.mp4"
    real.parent.mkdir(parents=True, exist_ok=True)
    if not real.is_symlink():
        real.symlink_to(clip.resolve())
    return {"clip": code, "other": other, "quality": quality_facts(quality), "offsets": offsets}


def _picture(pictures: NDArray[np.uint8], shot: Shot) -> NDArray[np.uint8]:
    return pictures[shot.frame]


def _of_length(avatar: Avatar, motion: Motion, count: int) -> NDArray[np.float32]:
    """A motion on the avatar's mesh, cut, or held at its end, to so many frames."""
    carried, _ = motion_on_avatar(motion, avatar)
    places = np.minimum(np.arange(count), len(carried.vertices) - 1)
    return carried.vertices[places]


def _save_sound(path: Path, sound: NDArray[np.float32]) -> None:
    if not path.is_file():
        write_wav(path, np.clip(sound, -1.0, 1.0))  # resampling overshoots by a little


def _offset_in(path: Path, landmarker: Path, sound: NDArray[np.float32]) -> dict[str, Any] | None:
    """What the judge says of a written film: its face is tracked, its sound decoded again."""
    config = FilmConfig(blinks=False)
    try:
        person = track_person([path], landmarker, head_model(), config, lambda _: None)
    except ValueError:  # no face is found in a picture of one that does not look like any
        return None
    return _offset_of(person, read_audio(path)[: len(sound)])


def _offset_of(person: TrackedPerson, sound: NDArray[np.float32]) -> dict[str, Any] | None:
    film = person.films[0]
    lips = film.vertices[:, person.template.lip_ids]
    score = lip_sync(sound, lips, person.template.lips, film.tracked)
    if score is None:
        return None
    return {"offset_ms": score.offset_ms, "lse_d": score.lse_d, "lse_c": score.lse_c}


def read(data: Path, tests: Sequence[tuple[str, str]], work: Path) -> None:
    """What the bundled lip reader reads in the films."""
    lines = ["utterance_id\ttext\tspeaker_id", *(f"{c}\t{t}\ts1" for c, t in tests)]
    with write_atomically(work / "text.tsv") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = benchmark_faces(
        FaceBenchmark(
            audio=work / "audio",
            text=work / "text.tsv",
            out=work / "reading",
            videos=tuple(work / name for name in DRIVEN),
            truth=work / "real",
            landmarker_model=_landmarker(data),
            processes=1,
        )
    )
    write_json(work / "reading.json", found)


def report(work: Path, tests: Sequence[tuple[str, str]], out: Path) -> None:
    """The published figures."""
    avatars = {p.stem: read_json(p) for p in sorted((work / "avatars").glob("*.json"))}
    rows = [read_json(work / "films" / f"{code}.json") for code, _ in tests]
    systems = rows[0]["quality"]
    films_found = {
        system: {
            area: {
                figure: mean_with_interval([r["quality"][system][area][figure] for r in rows])
                for figure in ("psnr_db", "ssim")
            }
            for area in systems[system]
        }
        for system in systems
    }
    sync = {}
    for name in rows[0]["offsets"]:
        known = [r["offsets"][name] for r in rows if r["offsets"][name] is not None]
        sync[name] = {
            "films": len(known),
            "of": len(rows),
            **{
                figure: mean_with_interval([one[figure] for one in known])
                for figure in ("offset_ms", "lse_d", "lse_c")
            },
            "offset_absolute_ms": mean_with_interval([abs(o["offset_ms"]) for o in known]),
        }
    reading = read_json(work / "reading.json") if (work / "reading.json").is_file() else None
    found = scrubbed(
        {
            "avatars": avatars,
            "films": films_found,
            "clips": [code for code, _ in tests],
            "sync": sync,
            "reading": None if reading is None else _reading(reading),
            "provenance": provenance(),
        }
    )
    write_json(out / "talking_avatar.json", found)
    with write_atomically(out / "talking_avatar.md") as temporary:
        temporary.write_text(text_of(found), encoding="utf-8")
    print(f"written {out / 'talking_avatar.md'}")


def _reading(found: Mapping[str, Any]) -> dict[str, Any]:
    """Word error rates of each reading, by face."""
    return {
        reader: {
            face: {figure: one[figure] for figure in ("wer", "ver")}
            for face, one in reading["systems"].items()
        }
        for reader, reading in found["readings"].items()
    }


if __name__ == "__main__":
    run_command(main)
