"""Films made of many sentences, by `avsr transcribe`, against the same sentences one by one.

    AVSR_DATA=/path/to/data python benchmarks/long_films.py --run runs/grid

Writes ``benchmarks/results/long_films.json`` and from it ``long_films.md``: words lost where films
are cut, words doubled, word times, and which of two faces is read. Windows are chosen on films
of the validation split, by sound alone; everything reported is of the test split.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.data.manifest import load_prepared  # noqa: E402
from avsr.decode.config import DecodingConfig  # noqa: E402
from avsr.decode.windows import WindowConfig  # noqa: E402
from avsr.files import sha256_file, write_atomically, write_json  # noqa: E402
from avsr.long_form import FilmFacts, windows_of  # noqa: E402
from avsr.metrics import Score, clustered_bootstrap, corpus_errors, word_errors  # noqa: E402
from avsr.schema import Modality, RecognizedWord, Transcript  # noqa: E402
from avsr.tracking import FaceTracker, find_face_landmarker  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.recognizer import load_recognizer  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.transcribe import transcribe  # noqa: E402
from benchmarks.films.making import (  # noqa: E402
    Clip,
    clips_of,
    film_file,
    groups_of,
    sound_file,
    two_faces,
    without_pauses,
)
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.real_data import NoDataError, real_data  # noqa: E402

Read = Callable[[Path, Modality, WindowConfig], Transcript]
LIMITS_S = ((2.0, 16.0), (2.0, 8.0), (2.0, 5.0), (2.0, 4.0), (1.5, 4.0), (1.5, 3.0))
DEFAULT = WindowConfig()
MATERIALS: dict[str, Callable[[Clip], np.ndarray]] = {
    "joined": lambda clip: clip.waveform,
    "joined, pauses cut out": without_pauses,
}


@dataclass(frozen=True)
class Row:
    """Films of one kind, read in one way."""

    material: str
    modality: str
    windows: str
    films: int
    wer: float
    low: float
    high: float
    insertions: int
    deletions: int
    substitutions: int
    words: int


def main(
    run: Path | None = None,
    recognizer: str = "audio_visual",
    clips_per_film: int = 5,
    pairs: int = 24,
    beam_size: int = 8,
    limit: int | None = None,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure transcription of long films on a finished run of the GRID recipe.

    Args:
        run: folder of the run; without it nothing is measured.
        recognizer: which of its networks.
        clips_per_film: sentences that are joined.
        pairs: films with two faces.
        beam_size: of the CTC prefix search.
        limit: the first so many clips of a split only; default all.
        out: folder of long_films.json and long_films.md.
    """
    if run is None:
        print("left out: long films need a finished run of the GRID recipe; give it with --run")
        return
    try:
        media = real_data() / "grid"
    except NoDataError as error:
        print(f"left out: {error}")
        return
    use_one_thread()
    weights = run / recognizer / "best.safetensors"
    network = load_recognizer(weights)
    decoding = DecodingConfig("ctc", beam_size=beam_size)
    landmarker = find_face_landmarker(str(media.parent))

    def read(path: Path, modality: Modality, windows: WindowConfig) -> Transcript:
        return transcribe(
            path,
            network,
            modality=modality,
            landmarker_model=landmarker,
            decoding=decoding,
            windows=windows,
        )

    valid, test = (
        clips_of(load_prepared(run / "prepared", split), media)[:limit]
        for split in ("valid", "test")
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tried = {
            material: {
                pair: _tried(valid, clips_per_film, make, pair, read, folder) for pair in LIMITS_S
            }
            for material, make in MATERIALS.items()
        }
        chosen = {
            material: windows_of_limits(*min(found, key=lambda pair: found[pair]))
            for material, found in tried.items()
        }
        rows, times = measured(test, clips_per_film, read, chosen, folder)
        right = sum(
            _right_face(test, number, folder, str(landmarker), network[0].config.num_mels)
            for number in range(pairs)
        )
    report = scrubbed(
        {
            "schema": "benchmarks.long_films",
            "machine": provenance(),
            "recognizer_sha256": sha256_file(weights),
            "recognizer": recognizer,
            "clips_per_film": clips_per_film,
            "validation_wer": [
                {
                    "min_s": a,
                    "max_s": b,
                    "wer": {name: found[a, b] for name, found in tried.items()},
                }
                for a, b in LIMITS_S
            ],
            "rows": [asdict(row) for row in rows],
            "word_times": times,
            "two_faces": {"right": right, "films": pairs},
        }
    )
    write_json(out / "long_films.json", report)
    with write_atomically(out / "long_films.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def windows_of_limits(min_s: float, max_s: float) -> WindowConfig:
    """The default windows with other limits; they overlap by no more than the shortest allows."""
    return replace(DEFAULT, min_s=min_s, max_s=max_s, overlap_s=min(DEFAULT.overlap_s, min_s / 2))


def _tried(
    clips: Sequence[Clip],
    size: int,
    sound_of: Callable[[Clip], np.ndarray],
    limits_s: tuple[float, float],
    read: Read,
    folder: Path,
) -> float:
    """WER of joined validation sound under some limits."""
    windows = windows_of_limits(*limits_s)
    counts = []
    for group in groups_of(clips, size):
        said = read(
            sound_file(folder / "valid.wav", [sound_of(c) for c in group]), "audio", windows
        )
        text = " ".join(clip.text for clip in group)
        counts.append(word_errors(reference=text, hypothesis=said.text))
    print(f"validation, {limits_s}: {100 * corpus_errors(counts).rate:.1f} %", flush=True)
    return corpus_errors(counts).rate


def measured(
    clips: Sequence[Clip],
    size: int,
    read: Read,
    chosen: Mapping[str, WindowConfig],
    folder: Path,
) -> tuple[list[Row], dict[str, float]]:
    """Rows of the table, and how far word times are off, of single sentences by sound."""
    rows: list[Row] = []
    groups = groups_of(clips, size)

    def films(
        material: str,
        modality: Modality,
        using: WindowConfig,
        make: Callable[[Sequence[Clip]], Path],
        of: Sequence[Sequence[Clip]] = groups,
    ) -> None:
        scores = []
        for number, group in enumerate(of):
            reference = " ".join(clip.text for clip in group)
            said = read(make(group), modality, using)
            scores.append(_score(number, reference, said.text))
        rows.append(_row(material, modality, using, scores))
        print(rows[-1], flush=True)

    def joined(material: str) -> Callable[[Sequence[Clip]], Path]:
        sound_of = MATERIALS[material]
        return lambda group: sound_file(folder / "film.wav", [sound_of(clip) for clip in group])

    offsets = _one_by_one(groups, read, folder, rows)
    for material, windows in chosen.items():
        for using in dict.fromkeys((DEFAULT, windows)):
            films(material, "audio", using, joined(material))
    windows = chosen["joined"]
    halves = [list(clips[: len(clips) // 2]), list(clips[len(clips) // 2 :])]
    films("half of the split as one film", "audio", windows, joined("joined"), halves)
    films("joined", "audio_visual", windows, lambda group: film_file(folder / "c.mp4", group))
    return rows, {
        "words": len(offsets),
        "mean_ms": float(1000 * np.mean(offsets)),
        "median_ms": float(1000 * np.median(offsets)),
        "95_ms": float(1000 * np.percentile(offsets, 95)),
    }


def _one_by_one(
    groups: Sequence[Sequence[Clip]], read: Read, folder: Path, rows: list[Row]
) -> list[float]:
    """Adds the rows of single sentences; returns |start and end error| of their right words, s."""
    offsets: list[float] = []
    modalities: tuple[Modality, ...] = ("audio", "audio_visual")
    for modality in modalities:
        scores = []
        for number, group in enumerate(groups):
            texts = []
            for clip in group:
                path = clip.film
                if modality == "audio":
                    path = sound_file(folder / "one.wav", [clip.waveform])
                said = read(path, modality, DEFAULT)
                texts.append(said.text)
                if modality == "audio" and [w.word for w in said.words] == clip.text.split():
                    offsets += _offsets(said.words, clip)
            scores.append(_score(number, " ".join(c.text for c in group), " ".join(texts)))
        rows.append(_row("one by one", modality, DEFAULT, scores))
        print(rows[-1], flush=True)
    return offsets


def _offsets(words: Sequence[RecognizedWord], clip: Clip) -> list[float]:
    """Distance in seconds of starts and ends from the corpus's word times."""
    return [
        abs(told - true)
        for word, (_, start, end) in zip(words, clip.words, strict=False)
        for told, true in ((word.start_s, start), (word.end_s, end))
    ]


def _score(number: int, reference: str, hypothesis: str) -> Score:
    errors = word_errors(reference=reference, hypothesis=hypothesis)
    return Score(f"film{number:03d}", "one", "none", None, None, errors)


def _row(material: str, modality: str, windows: WindowConfig, scores: Sequence[Score]) -> Row:
    total = corpus_errors(score.errors for score in scores)
    interval = clustered_bootstrap(scores, seed=0, num_resamples=2000)
    assert interval.low is not None and interval.high is not None
    return Row(
        material,
        modality,
        f"{windows.min_s:g} to {windows.max_s:g} s",
        len(scores),
        total.rate,
        interval.low,
        interval.high,
        total.insertions,
        total.deletions,
        total.substitutions,
        total.reference_length,
    )


def _right_face(
    clips: Sequence[Clip], number: int, folder: Path, landmarker: str, num_mels: int | None
) -> bool:
    """Two clips side by side, the sound of one in turns: are the crops those of its mouth?"""
    left, right = clips[(2 * number) % len(clips)], clips[(2 * number + 1) % len(clips)]
    heard = left if number % 2 else right
    path = two_faces(folder / "two.mp4", left, right, heard)
    facts = FilmFacts()
    with FaceTracker(landmarker) as tracker:
        found = list(
            windows_of(
                path,
                facts,
                sound=True,
                tracker=tracker,
                audio_delay_s=0.0,
                num_mels=num_mels,
                config=DEFAULT,
            )
        )
    assert facts.most_faces > 1, f"{left.name} and {right.name}: the tracker found one face only"
    seen = found[0].example
    assert seen.mouth_crops is not None
    crops = seen.mouth_crops[seen.crops_valid].astype(np.float32)

    def distance(clip: Clip) -> float:
        own = clip.crops[:, 4:92, 4:92][: len(seen.crops_valid)].astype(np.float32)
        length = min(len(own), len(seen.crops_valid))
        valid = seen.crops_valid[:length]
        return float(np.abs(own[:length][valid] - crops[: valid.sum()]).mean())

    other = right if heard is left else left
    return distance(heard) < distance(other)


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine, times, faces = report["machine"], report["word_times"], report["two_faces"]
    lines = [
        "| sentences | read by | windows | films | WER | doubled or made up | lost | wrong |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['material']} | {row['modality']} | {row['windows']} | {row['films']} | "
        f"{100 * row['wer']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}] % | "
        f"{row['insertions']} | {row['deletions']} | {row['substitutions']} |"
        for row in report["rows"]
    ]
    names = list(report["validation_wer"][0]["wer"])
    tried = [
        f"| {one['min_s']:g} to {one['max_s']:g} s | "
        + " | ".join(f"{100 * one['wer'][name]:.1f} %" for name in names)
        + " |"
        for one in report["validation_wer"]
    ]
    parts = [
        "# Long films",
        f"Network `{report['recognizer']}` of the GRID recipe: **one speaker, 51 words, closed "
        "grammar, trained on single sentences of 3 s**. Films join "
        f"{report['clips_per_film']} neighbouring test sentences; intervals are over films. "
        f"{report['rows'][0]['words']} words. {machine['cpu_count']} cores "
        f"{machine['processor']}, torch {machine['versions']['torch']}, commit "
        f"`{machine['commit']}`.",
        "\n".join(lines),
        "Where pauses are cut out 40 ms of quiet stay on either side of a sentence: windows must "
        "be cut within talk, overlap, and be joined by their words. Beside the default windows (2 "
        "to 16 s) stand those that were best on films of the validation split, by sound:",
        "\n".join([f"| windows | {' | '.join(names)} |", "|---|" + "---:|" * len(names), *tried]),
        f"Word times of sentences that were read right ({times['words']} starts and ends): "
        f"{times['mean_ms']:.0f} ms off on average, median {times['median_ms']:.0f} ms, 95 % "
        f"within {times['95_ms']:.0f} ms.",
        f"Two faces side by side, one of them heard: the right one was read in {faces['right']} "
        f"of {faces['films']} films.",
        f"```text\n{machine['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
