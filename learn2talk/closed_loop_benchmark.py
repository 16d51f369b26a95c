"""Both benchmarks at once: what a generated face is worth to a recogniser, and to a lip reader.

A noisy test of a prepared corpus is decoded by an audio-visual recogniser with every visual source:
no face, real mouth crops, tracked lips, and faces that a student makes from the clean sound (an
upper bound), from the same noisy sound (what a listener has) and from another utterance, beside a
still face. The same student's faces are drawn and read by lip readers that hear nothing.

    <out>/decoding/     hypotheses.jsonl of the recognisers
    <out>/faces/        the student's motions, the tracked ones, sounds and texts
    <out>/readability/  report of the face benchmark
    <out>/              results.json, results.md, rows.csv, rows.tex, the plot, report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.conditions import Bootstrap
from avsr.corpora.clips import file_stem
from avsr.data.manifest import FaceTemplates, decode_row, load_prepared
from avsr.data.mixtures import render_mixture
from avsr.evaluate import VisualInputs, another_audio
from avsr.files import sha256_file, write_atomically, write_json, write_wav
from avsr.noisy_test import NoisyTest, load
from avsr.noisy_test_decoding import SeeingSystem, decode_with_video, still_faces
from avsr.report import ReportText, write_outputs
from avsr.score_files import score_test
from avsr.units import VIDEO_FPS
from learn2talk.animate import animate, generate_lips
from learn2talk.closed_loop import VISUAL_SOURCES
from learn2talk.closed_loop_report import shown_samples
from learn2talk.data.motion import load_templates
from learn2talk.default_student import default_student
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from learn2talk.files import load_student, save_motion
from learn2talk.schema import Motion


@dataclass(frozen=True)
class ClosedLoopBenchmark:
    """What is tested.

    test: folder of ``avsr noise build`` on a prepared corpus with pictures. recognizer: an
    audio-visual recogniser; audio_recognizer: one of sound alone beside it, or None. student: makes
    the faces, None is the bundled one; robust_student: makes those that come from noisy sound, None
    is the same. visual_sources: what the recogniser is shown. lip_readers, judge: beside or in
    place of the bundled ones, see :class:`learn2talk.face_benchmark.run.FaceBenchmark`.
    readability: whether the faces are read, too. samples: utterances on the page.
    """

    test: Path
    recognizer: Path
    out: Path
    audio_recognizer: Path | None = None
    student: Path | None = None
    robust_student: Path | None = None
    visual_sources: tuple[str, ...] = VISUAL_SOURCES
    lip_readers: tuple[Path, ...] = ()
    bundled_reader: bool = True
    judge: Path | None = None
    readability: bool = True
    speaker_dependent: bool = False
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    media_root: Path | None = None
    samples: int = 3
    processes: int = 1
    resamples: int = 2000

    def __post_init__(self) -> None:
        unknown = sorted(set(self.visual_sources) - set(VISUAL_SOURCES))
        if unknown or not self.visual_sources:
            raise ValueError(
                f"visual sources {list(self.visual_sources)}: choose from "
                f"{', '.join(VISUAL_SOURCES)}"
            )


@dataclass(frozen=True)
class GeneratedFaces:
    """Lips from students, for :func:`avsr.noisy_test_decoding.decode_with_video`; picklable.

    ``needs_other``: the mismatched source is asked for, which takes two different sentences.
    """

    student: Path
    robust_student: Path
    needs_other: bool = True

    def __call__(self, rows: Any, templates: FaceTemplates) -> VisualInputs:
        """Where each generated source comes from."""
        plain, robust = load_student(self.student), load_student(self.robust_student)
        return VisualInputs(
            generate=lambda sounds: generate_lips(plain, sounds),
            generate_from_noisy=lambda sounds: generate_lips(robust, sounds),
            still_lips=still_faces(rows, templates).still_lips,
            other_audio=another_audio(rows) if self.needs_other else None,
        )


def run_closed_loop(asked: ClosedLoopBenchmark) -> dict[str, Path]:
    """Decode, score, read the faces and write the page; a stopped run goes on.

    Returns:
        paths of what was written, by name.

    Raises:
        ValueError: what decoding, scoring and the face benchmark refuse.
    """
    test = load(asked.test)
    student = asked.student or default_student()
    robust = asked.robust_student or student
    systems = [SeeingSystem("audio_visual", str(asked.recognizer), asked.visual_sources)]
    if asked.audio_recognizer is not None:
        systems.insert(0, SeeingSystem("audio", str(asked.audio_recognizer)))
    decoded = asked.out / "decoding"
    weights = decode_with_video(
        test,
        systems,
        decoded,
        make_inputs=GeneratedFaces(student, robust, "generated_from_other" in asked.visual_sources),
        made_by={
            "student": sha256_file(student / "student.safetensors"),
            "robust_student": sha256_file(robust / "student.safetensors"),
        },
        processes=asked.processes,
    )
    results = score_test(
        asked.test,
        decoded / "hypotheses.jsonl",
        test.manifest,
        systems=weights,
        bootstrap=Bootstrap(num_resamples=asked.resamples),
        synthetic=asked.synthetic,
        speaker_dependent=asked.speaker_dependent,
        notes=asked.notes,
    )
    write_json(asked.out / "results.json", results)
    read = read_faces(test, student, asked) if asked.readability else None
    samples = _samples(test, results, decoded, student, asked)
    text = ReportText(title=f"{results['protocol']['corpus']}: a face for the recogniser")
    return write_outputs(asked.out, results, samples, text=text, readability=read)


def read_faces(test: NoisyTest, student: Path, asked: ClosedLoopBenchmark) -> dict[str, Any]:
    """The face benchmark on the test's utterances: the student's faces, the tracked truth."""
    faces = asked.out / "faces"
    lay_out_faces(test, student, faces)
    return benchmark_faces(
        FaceBenchmark(
            audio=faces / "audio",
            text=faces / "text.tsv",
            out=asked.out / "readability",
            motions=(faces / "student",),
            truth=faces / "truth",
            lip_readers=asked.lip_readers,
            bundled_reader=asked.bundled_reader,
            judge=asked.judge,
            phones=faces / "phones",
            processes=asked.processes,
        )
    )


def lay_out_faces(test: NoisyTest, student: Path, folder: Path) -> None:
    """Motions, sounds, texts and times of a test's utterances as files that anybody could have.

    Args:
        test: of a prepared corpus with tracked vertices.
        student: folder of the student that makes ``student/``.
        folder: gets ``student/``, ``truth/``, ``audio/``, ``phones/`` and ``text.tsv``; files that
            are there are left.
    """
    trained, corpus = load_student(student), test.utterances.source
    templates = load_templates(corpus)
    rows = load_prepared(corpus, test.facts["split"])
    lines = ["utterance_id\ttext\tspeaker_id"]
    for name, speaker, text in test.facts["utterances"]:
        lines.append(f"{name}\t{text}\t{speaker}")
        stem = file_stem(name)
        if (folder / "student" / f"{stem}.npz").is_file():
            continue  # written last
        one = decode_row(rows[test.utterances.places[name]])
        write_wav(folder / "audio" / f"{stem}.wav", one.audio / max(1.0, np.abs(one.audio).max()))
        times = [("word", "start_s", "end_s")]
        times += [(w.word, f"{w.start_s:.4f}", f"{w.end_s:.4f}") for w in one.words]
        if one.phones:
            times = [("phone", "start_s", "end_s")]
            times += [(p.phone, f"{p.start_s:.4f}", f"{p.end_s:.4f}") for p in one.phones]
        with write_atomically(folder / "phones" / f"{stem}.tsv") as temporary:
            temporary.write_text("".join("\t".join(row) + "\n" for row in times), "utf-8")
        truth = Motion(one.vertices, float(VIDEO_FPS), templates[one.speaker_id])
        save_motion(folder / "truth" / f"{stem}.npz", truth, {"made_by": "tracking"})
        told = {"student": {k: v for k, v in trained.provenance.items() if k != "excluded"}}
        save_motion(folder / "student" / f"{stem}.npz", animate(one.audio, trained), told)
    with write_atomically(folder / "text.tsv") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _samples(
    test: NoisyTest,
    results: dict[str, Any],
    decoded: Path,
    student: Path,
    asked: ClosedLoopBenchmark,
) -> list[Any]:
    """A few utterances to see and hear, at equal steps through the test: a rule, not a choice."""
    names = [one[0] for one in test.facts["utterances"]]
    steps = np.linspace(0, len(names) - 1, min(asked.samples, len(names))).round()
    rows = load_prepared(test.utterances.source, test.facts["split"])
    chosen = {names[int(step)]: rows[test.utterances.places[names[int(step)]]] for step in steps}
    bank = test.bank()
    return shown_samples(
        chosen,
        results,
        test.manifest.rows,
        decoded / "hypotheses.jsonl",
        lambda row, speech: render_mixture(row, speech, bank, test.rooms),
        student,
        media_root=asked.media_root,
    )
