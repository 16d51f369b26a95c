"""A noisy test heard by a recogniser: each finished utterance is a file, and work is shared out.

Mixtures are made from the manifest in memory; no sound is written. What is there is not decoded
again, and another recogniser's work in the same folder is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import FaceTemplates, load_face_templates, load_prepared
from avsr.data.mixtures import render_mixture
from avsr.decode.config import DecodingConfig
from avsr.evaluate import PREFIX_BEAM, System, VisualInputs, decode_split, hypotheses_file
from avsr.files import read_jsonl, sha256_file, write_json, write_jsonl
from avsr.noisy_test import NoisyTest, load
from avsr.recognize_files import AdapterChoice
from avsr.schema import VISUAL_SOURCES, Hypothesis
from avsr.shared_work import in_processes
from avsr.training.hub import recognizer_file
from avsr.training.recognizer import load_recognizer
from avsr.training.run_folder import same_run

OWN_SOURCES = ("mouth_crops", "tracked_lips", "still")  # that need nobody who makes faces
# A prepared split and its face templates to the sources of lips; picklable.
MakeInputs = Callable[[Any, FaceTemplates], VisualInputs]


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
        visual_sources: what it sees, beside sound alone; none: only that.
    """

    name: str
    recognizer: str
    visual_sources: tuple[str, ...] = ()


def still_faces(rows: Any, templates: FaceTemplates) -> VisualInputs:
    """The neutral lips of each speaker, for the source ``still``; no face is generated."""
    lips = np.concatenate([templates.regions["lips_outer"], templates.regions["lips_inner"]])
    return VisualInputs(still_lips={name: one[lips] for name, one in templates.templates.items()})


def decode_with_video(
    test: NoisyTest,
    systems: Sequence[SeeingSystem],
    out: Path,
    *,
    video_conditions: Sequence[str] = ("clean",),
    decoding: DecodingConfig = PREFIX_BEAM,
    make_inputs: MakeInputs = still_faces,
    made_by: Mapping[str, str] | None = None,
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
        make_inputs: where lips come from that were not tracked.
        made_by: what makes them, such as the hash of a student; part of the work's identity.
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
    asked = {source for one in systems for source in one.visual_sources}
    unknown = sorted(asked - set(OWN_SOURCES if made_by is None else VISUAL_SOURCES))
    if unknown:
        raise ValueError(
            f"visual sources {', '.join(unknown)} are not of {', '.join(OWN_SOURCES)}; generated "
            "faces are decoded with 'learn2talk closed-loop'"
        )
    weights = {one.name: sha256_file(recognizer_file(one.recognizer)) for one in systems}
    facts = {
        "manifest": test.manifest.sha256,
        "weights": weights,
        "visual_sources": {one.name: one.visual_sources for one in systems},
        "video_conditions": list(video_conditions),
        "decoding": asdict(decoding),
        "made_by": dict(made_by or {}),
    }
    same_run(out / "decoding.json", facts, "hypotheses")
    names = list(test.mixtures_of())
    work = _Eyes(
        test.folder, tuple(systems), out / "parts", tuple(video_conditions), decoding, make_inputs
    )
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
    make_inputs: MakeInputs

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
        if self.make_inputs not in _KEPT:
            _KEPT[self.make_inputs] = self.make_inputs(rows, load_face_templates(corpus))
        decode_split(
            rows.select(places),
            test.manifest.rows,
            test.bank(),
            _KEPT[self.systems],
            _KEPT[self.make_inputs],
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
