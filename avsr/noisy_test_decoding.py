"""A noisy test heard by a recogniser: each finished utterance is a file, and work is shared out.

Mixtures are made from the manifest in memory; no sound is written. What is there is not decoded
again, and another recogniser's work in the same folder is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.data.manifest import load_face_templates, load_prepared
from avsr.data.mixtures import render_mixture
from avsr.decode.config import DecodingConfig
from avsr.evaluate import PREFIX_BEAM, System, VisualInputs, decode_split, hypotheses_file
from avsr.files import read_jsonl, sha256_file, write_json, write_jsonl
from avsr.noisy_test import NoisyTest, load
from avsr.recognize_files import AdapterChoice
from avsr.schema import Hypothesis
from avsr.shared_work import in_processes
from avsr.training.hub import recognizer_file
from avsr.training.recognizer import load_recognizer
from avsr.training.run_folder import same_run

REAL_SOURCES = ("mouth_crops", "tracked_lips", "still")


def decode_by_ear(
    test: NoisyTest, choice: AdapterChoice, out: Path, *, processes: int = 1
) -> dict[str, str]:
    """Every mixture to text by one recogniser, ours or another's, into ``<out>/hypotheses.jsonl``.

    Args:
        test: a built test.
        choice: the recogniser.
        out: folder of this recogniser's work.
        processes: that share the utterances; each loads the recogniser, on one thread.

    Returns:
        what is known of the recogniser: versions, hashes of weights, decoding.

    Raises:
        ValueError: ``out`` holds another test's or recogniser's work, or what the recogniser says.
    """
    adapter = choice.load()
    facts = {"system": adapter.name, **adapter.facts}
    same_run(out / "decoding.json", facts | {"manifest": test.manifest.sha256}, "hypotheses")
    names = list(test.mixtures_of())
    in_processes(_Ear(test.folder, choice, out / "parts"), names, processes, adapter.name)
    _merge(out, names)
    return facts


@dataclass(frozen=True)
class _Ear:
    test_folder: Path
    choice: AdapterChoice
    out: Path

    def __call__(self, names: Sequence[str]) -> None:
        waiting = [name for name in names if not hypotheses_file(self.out, name).exists()]
        if not waiting:
            return
        test, adapter = _loaded(self.test_folder), _adapter(self.choice)
        bank, mixtures = test.bank(), test.mixtures_of()
        people = {name: (speaker, text) for name, speaker, text in test.facts["utterances"]}
        for name in waiting:
            speech = test.utterances.waveform(name)
            speaker, reference = people[name]
            rows: list[dict[str, Any]] = []
            for first in range(0, len(mixtures[name]), adapter.batch):
                part = mixtures[name][first : first + adapter.batch]
                sounds = [render_mixture(row, speech, bank, test.rooms) for row in part]
                for row, text in zip(part, adapter.transcribe(sounds), strict=True):
                    rows.append(
                        Hypothesis(
                            utterance_id=name,
                            speaker_id=speaker,
                            system=adapter.name,
                            modality="audio",
                            visual_source="none",
                            noise_type=row.noise_type,
                            snr_db=row.snr_db,
                            seed=row.seed,
                            reference=reference,
                            hypothesis=text,
                            reverberation=row.reverberation,
                        ).to_row()
                    )
            write_jsonl(hypotheses_file(self.out, name), rows)


_KEPT: dict[Any, Any] = {}  # what this process has loaded: it is asked for part after part


def _loaded(folder: Path) -> NoisyTest:
    if folder not in _KEPT:
        _KEPT[folder] = load(folder)
    test: NoisyTest = _KEPT[folder]
    return test


def _adapter(choice: AdapterChoice) -> Any:
    if choice not in _KEPT:
        _KEPT[choice] = choice.load()
    return _KEPT[choice]


@dataclass(frozen=True)
class SeeingSystem:
    """A recogniser of this project under test, and what it is shown.

    Fields:
        name: stands in the hypotheses.
        recognizer: ``best.safetensors`` of a run, or a published folder.
        visual_sources: some of ``mouth_crops``, ``tracked_lips``, ``still``; none: sound alone.
    """

    name: str
    recognizer: str
    visual_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [one for one in self.visual_sources if one not in REAL_SOURCES]
        if unknown:
            raise ValueError(
                f"visual sources {unknown} of {self.name!r} are not of {', '.join(REAL_SOURCES)}; "
                "generated faces are decoded with 'learn2talk closed-loop'"
            )


def decode_with_video(
    test: NoisyTest,
    systems: Sequence[SeeingSystem],
    out: Path,
    *,
    video_conditions: Sequence[str] = ("clean",),
    decoding: DecodingConfig = PREFIX_BEAM,
    processes: int = 1,
) -> dict[str, str]:
    """Every mixture by recognisers of this project, with and without the talker's mouth.

    Visual features are made once an utterance and condition, whatever number of mixtures there is.

    Args:
        test: a test of a prepared corpus.
        systems: recognisers and what they see.
        out: folder of this work; ``hypotheses.jsonl`` in it is the result.
        video_conditions: see :mod:`avsr.video_conditions`.
        decoding: how logits become text.
        processes: that share the utterances.

    Returns:
        name of each system to the hash of its weights.

    Raises:
        ValueError: a test without pictures, another work in ``out``.
    """
    if test.utterances.rows is None:
        raise ValueError(
            f"{test.utterances.source}: is a list of sounds; what is seen needs a prepared corpus "
            "(avsr prepare), or decode by ear with --adapter"
        )
    weights = {one.name: sha256_file(recognizer_file(one.recognizer)) for one in systems}
    facts = {
        "manifest": test.manifest.sha256,
        "weights": weights,
        "visual_sources": {one.name: one.visual_sources for one in systems},
        "video_conditions": list(video_conditions),
        "decoding": str(decoding),
    }
    same_run(out / "decoding.json", facts, "hypotheses")
    names = list(test.mixtures_of())
    work = _Eyes(test.folder, tuple(systems), out / "parts", tuple(video_conditions), decoding)
    in_processes(work, names, processes, "decode")
    _merge(out, names)
    return weights


@dataclass(frozen=True)
class _Eyes:
    test_folder: Path
    systems: tuple[SeeingSystem, ...]
    out: Path
    video_conditions: tuple[str, ...]
    decoding: DecodingConfig

    def __call__(self, names: Sequence[str]) -> None:
        waiting = [name for name in names if not hypotheses_file(self.out, name).exists()]
        if not waiting:
            return
        test = _loaded(self.test_folder)
        if self.systems not in _KEPT:
            _KEPT[self.systems] = [
                System(one.name, *load_recognizer(one.recognizer), one.visual_sources)
                for one in self.systems
            ]
        corpus = test.utterances.source
        rows = load_prepared(corpus, test.facts["split"])
        places = [test.utterances.places[name] for name in waiting]
        templates = load_face_templates(corpus)
        lips = [*templates.regions["lips_outer"], *templates.regions["lips_inner"]]
        decode_split(
            rows.select(places),
            test.manifest.rows,
            test.bank(),
            _KEPT[self.systems],
            VisualInputs(still_lips={k: one[lips] for k, one in templates.templates.items()}),
            self.out,
            decoding=self.decoding,
            rooms=test.rooms,
            video_conditions=self.video_conditions,
            process_index=0,
            quiet=True,
        )


def _merge(out: Path, names: Sequence[str]) -> None:
    parts = (hypotheses_file(out / "parts", name) for name in names)
    count = write_jsonl(
        out / "hypotheses.jsonl", (row for part in parts for row in read_jsonl(part))
    )
    write_json(out / "decoded.json", {"utterances": len(names), "hypotheses": count})
