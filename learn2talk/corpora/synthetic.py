"""The embedded default corpus: synthetic speech with the procedural head that says it.

Speech, phones and words come from ``avsr.corpora.synthetic`` (espeak-ng), the face from the phones
(``learn2talk.articulation``), the mouth crops from the face (``learn2talk.drawing``). Everything is
a function of the configuration and its seed. Speakers of train, valid and test are disjoint.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from avsr.corpora.synthetic import (
    MAX_SPEAKERS,
    SyntheticSpeaker,
    grid_sentence,
    say,
    speakers,
    split_speakers,
    wide_sentence,
)
from avsr.data.manifest import (
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    is_prepared,
    load_info,
    save_prepared,
)
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from learn2talk.articulation import Style, animate_head, control_curves, random_style
from learn2talk.corpora.part_files import read_part, write_part
from learn2talk.drawing import Palette, mouth_camera, render_mouth_crops
from learn2talk.head import Head, build_head, random_identity

FORMAT = 1  # raised when the numbers that a configuration gives change
SPLIT_NUMBERS = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class SyntheticConfig:
    """What the corpus holds; the defaults are those of ``make demo``.

    ``num_train``, ``num_valid``, ``num_test``: utterances, 1 or more each. ``num_speakers``: 3 to
    ``MAX_SPEAKERS``, an eighth each for valid and test. ``wide_share``: share of utterances from
    the wider vocabulary, 0-1; the others follow GRID's grammar. ``seed``: everything is drawn from
    it.
    """

    num_train: int = 300
    num_valid: int = 30
    num_test: int = 40
    num_speakers: int = 24
    wide_share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_train", "num_valid", "num_test"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"synthetic corpus: {name} is {getattr(self, name)}; give 1 or more"
                )
        if not 3 <= self.num_speakers <= MAX_SPEAKERS:
            raise ValueError(
                f"synthetic corpus: num_speakers is {self.num_speakers}; give 3 to {MAX_SPEAKERS}"
            )
        if not 0.0 <= self.wide_share <= 1.0:
            raise ValueError(f"synthetic corpus: wide_share is {self.wide_share}; give 0 to 1")


@dataclass(frozen=True)
class Talker:
    """The face of a speaker: head, way of articulating, colours."""

    head: Head
    style: Style
    palette: Palette


def build(
    out: Path | str,
    config: SyntheticConfig = SyntheticConfig(),
    *,
    num_processes: int = 2,
    progress: bool = True,
) -> Path:
    """Make the corpus as a prepared folder (``avsr.data.manifest``).

    A stopped run continues where it was: finished utterances wait under ``<out>/.utterances``. A
    folder that is finished with the same configuration is left as it is.

    Args:
        out: folder to make.
        config: what it holds.
        num_processes: 1 or more; 1 works in this process.
        progress: whether a bar is shown.

    Returns:
        ``out``.

    Raises:
        ValueError: ``out`` holds a corpus of another configuration, or espeak-ng or numba is
            missing.
    """
    out = Path(out)
    facts = {**asdict(config), "format": FORMAT}
    if is_prepared(out):
        found = load_info(out).get("config")
        if found != facts:
            raise ValueError(
                f"{out}: holds a synthetic corpus made with {found}, not {facts}; "
                "give another folder or delete this one"
            )
        return out
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    parts = out / ".utterances" / key
    parts.mkdir(parents=True, exist_ok=True)
    plan = [
        (split, index)
        for split, count in (
            ("train", config.num_train),
            ("valid", config.num_valid),
            ("test", config.num_test),
        )
        for index in range(count)
    ]
    missing = [item for item in plan if not _part(parts, *item).is_file()]
    _make_all(config, parts, missing, num_processes, progress, len(plan))
    people = speakers(config.num_speakers, config.seed)
    faces = [talker(config.seed, person.index).head.template for person in people]
    save_prepared(
        out,
        {split: _rows(parts, [i for s, i in plan if s == split], split) for split in SPLIT_NUMBERS},
        FaceTemplates(
            topology=faces[0].topology,
            triangles=faces[0].triangles,
            regions=dict(faces[0].regions),
            templates={p.speaker_id: f.vertices for p, f in zip(people, faces, strict=True)},
        ),
        {
            "name": "synthetic",
            "synthetic": True,
            "fps": VIDEO_FPS,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "config": facts,
            "voices": {person.speaker_id: asdict(person.voice) for person in people},
            "versions": _versions(),
        },
        (),
    )
    shutil.rmtree(out / ".utterances", ignore_errors=True)
    return out


@lru_cache(maxsize=MAX_SPEAKERS)
def talker(seed: int, index: int) -> Talker:
    """The face of speaker ``index``: drawn from ``seed``, the same in every process."""
    generator = np.random.default_rng((seed, index, 2))
    head = build_head(random_identity(generator))
    style = random_style(generator)
    tone = float(generator.uniform(0.0, 0.85))  # light to dark skin
    light, dark = np.array([240.0, 205.0, 182.0]), np.array([110.0, 72.0, 52.0])
    skin = light + (dark - light) * tone
    lips = skin * np.array([0.82, 0.56, 0.60]) * generator.uniform(0.92, 1.05)
    hair = np.array([60.0, 42.0, 34.0]) * generator.uniform(0.4, 1.8)
    iris = ((88, 118, 140), (92, 66, 44), (96, 116, 84))[int(generator.integers(3))]
    shirt = generator.uniform(50, 170, 3)
    palette = Palette(
        skin=_rgb(skin), lips=_rgb(lips), hair=_rgb(hair), iris=iris, shirt=_rgb(shirt)
    )
    return Talker(head, style, palette)


def make_utterance(config: SyntheticConfig, split: str, index: int) -> PreparedUtterance:
    """Utterance ``index`` of a split: a function of its arguments alone."""
    people = split_speakers(speakers(config.num_speakers, config.seed))[split]
    speaker: SyntheticSpeaker = people[index % len(people)]
    generator = np.random.default_rng((config.seed, SPLIT_NUMBERS[split], index, 3))
    wide = bool(generator.random() < config.wide_share)
    sentence = (wide_sentence if wide else grid_sentence)(generator)
    speech = say(sentence, speaker, generator)
    num_frames = len(speech.waveform) // SAMPLES_PER_FRAME
    face = talker(config.seed, speaker.index)
    curves = control_curves(speech.phones, num_frames, face.style)
    vertices = animate_head(face.head, curves)
    return PreparedUtterance(
        utterance_id=f"{speaker.speaker_id}/{split}{index:05d}",
        speaker_id=speaker.speaker_id,
        text=sentence.text,
        audio=speech.waveform,
        mouth_crops=_filmed(vertices, face, generator),
        lips=vertices[:, face.head.template.lip_ids],
        vertices=vertices,
        video_valid=np.ones(num_frames, dtype=bool),
        words=speech.words,
        phones=speech.phones,
        num_frames=num_frames,
        num_samples=len(speech.waveform),
        source=f"synthetic:{speaker.voice.name}:{'wide' if wide else 'grid'}",
    )


def _filmed(vertices: np.ndarray, face: Talker, generator: np.random.Generator) -> np.ndarray:
    """Mouth crops uint8 (T, 96, 96) as a camera in some light would see them."""
    template = face.head.template
    turned = mouth_camera(
        template, yaw=float(generator.normal(0.0, 0.08)), pitch=float(generator.normal(0.0, 0.05))
    )
    shift = generator.normal(0.0, 1.5, 2)
    camera = replace(
        turned,
        centre=(turned.centre[0] + float(shift[0]), turned.centre[1] + float(shift[1])),
        mm_per_picture=turned.mm_per_picture * float(generator.uniform(0.94, 1.06)),
        roll=float(generator.normal(0.0, 0.04)),
    )
    light = (float(generator.uniform(-0.7, 0.7)), float(generator.uniform(0.1, 0.7)), 0.8)
    palette = replace(face.palette, light=light)
    crops = render_mouth_crops(vertices, template, palette=palette, camera=camera)
    picture = _blurred(crops.astype(np.float32), float(generator.uniform(0.3, 1.0)))
    contrast, brightness = generator.uniform(0.75, 1.15), generator.uniform(-18.0, 18.0)
    picture = (picture - 128.0) * contrast + 128.0 + brightness
    grain = float(generator.uniform(0.5, 3.0))
    picture += grain * generator.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)


def _blurred(pictures: np.ndarray, sigma: float) -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (1, 2):
        widths = [(0, 0)] * 3
        widths[axis] = (2, 2)
        padded = np.pad(pictures, widths, mode="edge")
        length = pictures.shape[axis]
        pictures = sum(
            weight * np.take(padded, np.arange(i, i + length), axis=axis)
            for i, weight in enumerate(kernel)
        )
    return pictures


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.round(colour), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _part(parts: Path, split: str, index: int) -> Path:
    return parts / f"{split}{index:05d}.npz"


def _make_part(job: tuple[SyntheticConfig, Path, str, int]) -> None:
    config, parts, split, index = job
    row = encode_utterance(make_utterance(config, split, index))
    write_part(_part(parts, split, index), row)


def _rows(parts: Path, indices: list[int], split: str) -> Iterator[dict[str, object]]:
    for index in indices:
        yield read_part(_part(parts, split, index))


def _make_all(
    config: SyntheticConfig,
    parts: Path,
    missing: list[tuple[str, int]],
    num_processes: int,
    progress: bool,
    total: int,
) -> None:
    from tqdm import tqdm

    jobs = [(config, parts, split, index) for split, index in missing]
    done = total - len(jobs)
    with tqdm(total=total, initial=done, desc="synthetic", unit="utt", disable=not progress) as bar:
        for _ in _each(jobs, num_processes):
            bar.update()


def _each(jobs: list[tuple[SyntheticConfig, Path, str, int]], num_processes: int) -> Iterator[None]:
    if num_processes < 1:
        raise ValueError(f"synthetic corpus: num_processes is {num_processes}; give 1 or more")
    if num_processes == 1 or len(jobs) < 8:
        yield from map(_make_part, jobs)
        return
    # Spawned, so that no lock or thread of this process is copied half-way.
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        yield from pool.imap_unordered(_make_part, jobs, chunksize=4)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("espeakng-loader", "numba", "numpy")}
