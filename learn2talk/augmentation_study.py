"""Generated faces as training data: a lip reader that learns from n % of them reads real faces.

The first application that the Learn2Talk paper names: where there is sound with text but no film,
a face is made from the sound. Each utterance of the training split is real or generated for the
whole of training, by a hash of its id, so that 25 % is part of 50 %. Beside each mixture stands the
lip reader that had only its real part: what the generated faces add is the difference of the two.
All are tested on tracked lips of real films, sound never heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from avsr.data.augment import AugmentConfig
from avsr.data.collate import collate
from avsr.data.dataset import COLUMNS_READ, TrainingDataset
from avsr.data.manifest import decode_array, encode_array, load_prepared
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.evaluate import fit_frames
from avsr.files import sha256_file, write_json, write_jsonl
from avsr.metrics import Score, clustered_bootstrap, paired_bootstrap, word_errors
from avsr.models.fusion import Stream
from avsr.models.recognizer import RecognizerConfig
from avsr.noise import stable_hash
from avsr.text import Tokenizer, normalise, train_tokenizer
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    ValidationCondition,
    is_trained,
    load_recognizer,
    plain_example,
    train_recognizer,
    validator,
)
from avsr.training.run_folder import provenance
from learn2talk.animate import generate_lips
from learn2talk.files import TrainedStudent

if TYPE_CHECKING:
    import datasets

LIPS: tuple[Stream, ...] = ("lips",)
SOUND: tuple[Stream, ...] = ("audio",)
SCHEMA = "learn2talk.augmentation_study"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class AugmentationStudyConfig:
    """What is trained in the study."""

    generated_shares: tuple[float, ...] = (0.0, 0.5, 0.75, 1.0)
    """Of the training utterances, how many have a generated face; 0 is the reference."""
    model: RecognizerConfig = field(
        default_factory=lambda: RecognizerConfig(vocabulary_size=2, width=128, fused_layers=3)
    )
    """Shape of the lip readers; their streams are lips, and sound in training."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=1200,
            learning_rate=1.2e-3,
            max_frames=600,
            batches_per_update=1,
            average_decay=0.998,
            validate_every=200,
        )
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    frame_weight: float = 0.3
    """Of the frame loss against word times beside CTC."""
    heard_share: float = 0.5
    """Of the training examples, how many come with sound, half of these without lips."""
    vocabulary_size: int = 160
    """SentencePiece pieces wished for; the tokenizer decides."""

    def __post_init__(self) -> None:
        shares = self.generated_shares
        if 0.0 not in shares or len(set(shares)) != len(shares):
            raise ValueError(
                f"generated_shares {shares} must hold 0 (the reference), and each share once"
            )
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(f"generated_shares {shares} must be in [0, 1]")
        if not 0.0 <= self.heard_share < 1.0:
            raise ValueError(f"heard_share {self.heard_share} must be in [0, 1)")

    @property
    def arms(self) -> dict[str, tuple[float, bool]]:
        """Name to (generated share, whether the real part stands alone)."""
        found: dict[str, tuple[float, bool]] = {}
        for share in self.generated_shares:
            found[f"generated_{100 * share:g}"] = share, False
            if 0.0 < share < 1.0:
                found[f"real_{100 * (1 - share):g}_alone"] = share, True
        return found


def is_generated(utterance_id: str, share: float) -> bool:
    """Whether an utterance's face is generated where that share of them is."""
    return stable_hash("generated", utterance_id) % 10_000 < round(share * 10_000)


def mixed_rows(
    rows: datasets.Dataset, student: TrainedStudent, share: float, *, alone: bool, cache: Path
) -> datasets.Dataset:
    """Training rows of an arm: generated lips in place of tracked ones, or those rows left out.

    Args:
        rows: prepared training split.
        student: makes the lips from the clean sound.
        share: see :func:`is_generated`.
        alone: leave the generated ones out.
        cache: file for the changed rows.

    Raises:
        ValueError: no row is left.
    """
    rows = rows.select_columns(list(COLUMNS_READ))
    if alone:
        kept = [n for n, name in enumerate(rows["utterance_id"]) if not is_generated(name, share)]
        if not kept:
            raise ValueError(f"a share of {share} leaves no real utterance of {len(rows)}")
        return rows.select(kept)
    if share == 0.0:
        return rows

    def changed(row: dict[str, Any]) -> dict[str, Any]:
        if not is_generated(row["utterance_id"], share):
            return {}
        (lips,) = generate_lips(student, [decode_array(row["audio"])])
        lips = fit_frames(lips, row["num_frames"]).astype(np.float32)
        # A generated face is never lost from sight.
        valid = np.ones(row["num_frames"], dtype=bool)
        return {"lips": encode_array(lips), "video_valid": encode_array(valid)}

    cache.parent.mkdir(parents=True, exist_ok=True)
    return rows.map(
        changed, cache_file_name=str(cache), load_from_cache_file=False, desc="generate"
    )


def train_arm(
    name: str,
    prepared: Path,
    student: TrainedStudent,
    out: Path,
    config: AugmentationStudyConfig,
) -> Path:
    """Train the lip reader of an arm; chosen by WER on tracked lips of the validation split.

    Args:
        name: one of ``config.arms``.
        prepared: prepared corpus.
        student: makes the generated lips.
        out: folder of the study; the arm's is inside.
        config: sizes.

    Returns:
        the file of its best weights.

    Raises:
        ValueError: another name; what training refuses.
    """
    if name not in config.arms:
        raise ValueError(f"arm {name!r} is not one of {', '.join(config.arms)}")
    share, alone = config.arms[name]
    folder = out / name
    if is_trained(folder, config.train):
        return folder / "best.safetensors"
    accelerator = make_accelerator(config.train)
    every = load_prepared(prepared, "train")
    # One tokenizer for all arms: what can be written is no part of the question.
    tokenizer = Tokenizer(train_tokenizer(every["text"], config.vocabulary_size))
    rows = mixed_rows(every, student, share, alone=alone, cache=out / "rows" / f"{name}.arrow")
    heard = config.heard_share
    mix: list[tuple[tuple[Stream, ...], float]] = [(LIPS, 1.0 - heard)]
    if heard > 0:
        mix += [(SOUND, heard / 2), (SOUND + LIPS, heard / 2)]
    streams: tuple[Stream, ...] = SOUND + LIPS if heard > 0 else LIPS
    shape = RecognizerConfig(**{**asdict(config.model), "streams": streams})
    examples = TrainingDataset(
        rows,
        encode=tokenizer.encode,
        stream_mix=mix,
        mix_noise=None,
        augment=config.augment,
        num_mels=shape.num_mels,
        seed=config.train.seed,
    )
    condition = ValidationCondition("lips", LIPS, None)
    valid = load_prepared(prepared, "valid")
    return train_recognizer(
        examples,
        validator(valid, [condition], tokenizer, accelerator, shape.num_mels),
        tokenizer,
        model_config=shape,
        train_config=config.train,
        run_folder=folder,
        accelerator=accelerator,
        frame_weight=config.frame_weight,
        info={
            "corpus_sha256": sha256_file(prepared / "corpus.json"),
            "student_sha256": student.provenance["student_sha256"],
            "generated_share": share,
            "real_alone": alone,
        },
    )


@torch.no_grad()
def read_tracked_lips(recognizer: Path, rows: datasets.Dataset, batch: int = 16) -> list[str]:
    """What a recogniser reads from the tracked lips of a prepared split, without sound."""
    model, tokenizer = load_recognizer(recognizer)
    rows = rows.select_columns(list(COLUMNS_READ))
    said: list[str] = []
    for first in range(0, len(rows), batch):
        part = [rows[n] for n in range(first, min(first + batch, len(rows)))]
        examples = [plain_example(row, LIPS, num_mels=model.config.num_mels) for row in part]
        together = collate(examples)
        decoding = DecodingConfig("ctc", beam_size=8)
        found = decode_memory(model, model.memory_of(together), together.lengths, decoding)
        said += [normalise(tokenizer.decode(tokens)) for tokens in found]
    return said


def score_study(
    said: Mapping[str, Sequence[str]],
    rows: datasets.Dataset,
    config: AugmentationStudyConfig,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """WER of each arm with intervals, and paired differences, from what was read.

    Args:
        said: arm to a text for each row.
        rows: the test split.
        config: which arms there are.
        seed: of the bootstrap.

    Returns:
        ``arms``: name to ``wer``, ``generated_share``, ``real_alone``; ``differences``: what the
        generated faces add (mixture minus its real part) and what they lack (minus all real).
    """
    ids, people, texts = (list(rows[key]) for key in ("utterance_id", "speaker_id", "text"))
    scores = {
        name: [
            Score(
                ids[n],
                people[n],
                "none",
                None,
                None,
                word_errors(reference=normalise(texts[n]), hypothesis=text),
            )
            for n, text in enumerate(own)
        ]
        for name, own in said.items()
    }
    arms: dict[str, Any] = {}
    differences = []
    for name, (share, alone) in config.arms.items():
        found = clustered_bootstrap(scores[name], seed=seed)
        arms[name] = {
            "generated_share": share,
            "real_alone": alone,
            "wer": {"value": found.value, "low": found.low, "high": found.high},
        }
        others = [("generated_0", "against_all_real")] if share > 0 and not alone else []
        if 0.0 < share < 1.0 and not alone:
            others.append((f"real_{100 * (1 - share):g}_alone", "against_its_real_part"))
        for other, kind in others:
            test = paired_bootstrap(scores[name], scores[other], seed=seed)
            differences.append(
                {
                    "arm": name,
                    "minus": other,
                    "kind": kind,
                    "value": test.difference.value,
                    "low": test.difference.low,
                    "high": test.difference.high,
                    "p_value": test.p_value,
                }
            )
    return {"arms": arms, "differences": differences}


def report_study(
    prepared: Path, student: TrainedStudent, out: Path, config: AugmentationStudyConfig
) -> dict[str, Any]:
    """Read the test split with every trained arm; writes ``study.json`` and ``hypotheses.jsonl``.

    Raises:
        ValueError: an arm is not trained.
    """
    rows = load_prepared(prepared, "test")
    missing = [name for name in config.arms if not is_trained(out / name, config.train)]
    if missing:
        raise ValueError(f"{out}: arms {', '.join(missing)} are not trained to their end")
    files = {name: out / name / "best.safetensors" for name in config.arms}
    said = {name: read_tracked_lips(path, rows) for name, path in files.items()}
    ids, texts = list(rows["utterance_id"]), list(rows["text"])
    write_jsonl(
        out / "hypotheses.jsonl",
        (
            {"arm": name, "utterance_id": one, "reference": normalise(text), "hypothesis": read}
            for name, own in said.items()
            for one, text, read in zip(ids, texts, own, strict=True)
        ),
    )
    train_ids = list(load_prepared(prepared, "train")["utterance_id"])
    figures = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **score_study(said, rows, config),
        "train_utterances": {
            name: {
                "real": sum(not is_generated(one, share) for one in train_ids),
                "generated": 0 if alone else sum(is_generated(one, share) for one in train_ids),
            }
            for name, (share, alone) in config.arms.items()
        },
        "test_utterances": len(ids),
        "updates": config.train.max_updates,
        "seed": config.train.seed,
        "student_sha256": student.provenance["student_sha256"],
        "corpus_sha256": sha256_file(prepared / "corpus.json"),
        "weights_sha256": {name: sha256_file(path) for name, path in files.items()},
        **provenance(),
    }
    write_json(out / "study.json", figures)
    return figures
