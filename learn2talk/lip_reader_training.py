"""Training of lip readers: recognisers that read mouths, real and drawn ones together.

One is the loss of a student (LipReadNet), another, of another seed, judges how readable faces are.
Both should see real mouths and drawn ones (`learn2talk.corpora.drawn`): features of the two can
only be compared by a network that knows both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from avsr.data.augment import AugmentConfig
from avsr.data.dataset import TrainingDataset
from avsr.data.manifest import load_prepared
from avsr.files import sha256_file
from avsr.models.fusion import Stream
from avsr.models.recognizer import RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    ValidationCondition,
    is_trained,
    train_recognizer,
    validator,
)

CROPS: tuple[Stream, ...] = ("crops",)
SOUND: tuple[Stream, ...] = ("audio",)


@dataclass(frozen=True)
class LipReaderConfig:
    """How to train a lip reader."""

    model: RecognizerConfig = field(
        default_factory=lambda: RecognizerConfig(vocabulary_size=2, width=128, fused_layers=3)
    )
    """Shape of the network; training decides its streams, and validation gives mouths alone."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=1500,
            learning_rate=1.2e-3,
            max_frames=600,
            average_decay=0.998,
            validate_every=250,
        )
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    frame_weight: float = 0.3
    """Of the frame loss against word times beside CTC, where a corpus has them; 0: CTC alone."""
    heard_share: float = 0.5
    """Of the training examples, how many come with their sound, half of these without the mouth.
    Words are learned from sound in minutes, and lips then find them; 0: mouths alone, no sound."""
    vocabulary_size: int = 160
    """SentencePiece pieces wished for; the tokenizer decides."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.frame_weight < float("inf"):
            raise ValueError(f"frame_weight {self.frame_weight} must be 0 (off) or more")
        if not 0.0 <= self.heard_share < 1.0:
            raise ValueError(f"heard_share {self.heard_share} must be in [0, 1)")


def train_lip_reader(
    prepared: Path,
    run_folder: Path,
    config: LipReaderConfig | None = None,
    *,
    initial: Path | None = None,
    cpu: bool = False,
) -> Path:
    """Train a lip reader on a prepared corpus; selects by WER on its validation split.

    Args:
        prepared: prepared corpus with mouth crops; see `learn2talk.corpora.drawn.draw_mouths`.
        run_folder: gets checkpoints, metrics and ``best.safetensors``; a stopped run is resumed.
        config: None takes the defaults.
        initial: file of a recogniser of the same vocabulary to go on from; None starts from chance.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        the file of the best network, which `learn2talk.models.lip_reader` and
        `learn2talk.readability` take.

    Raises:
        ValueError: no utterance can be learned, ``initial`` does not fit, the loss is not finite.
    """
    config = config or LipReaderConfig()
    best = run_folder / "best.safetensors"
    if is_trained(run_folder, config.train):
        return best
    accelerator = make_accelerator(config.train, cpu=cpu)
    rows, valid = load_prepared(prepared, "train"), load_prepared(prepared, "valid")
    tokenizer = Tokenizer(train_tokenizer(rows["text"], config.vocabulary_size))
    share = config.heard_share
    mix: list[tuple[tuple[Stream, ...], float]] = [(CROPS, 1.0 - share)]
    if share > 0:
        mix += [(SOUND, share / 2), (SOUND + CROPS, share / 2)]
    shape = replace(config.model, streams=SOUND + CROPS if share > 0 else CROPS)
    examples = TrainingDataset(
        rows,
        encode=tokenizer.encode,
        stream_mix=mix,
        mix_noise=None,
        augment=config.augment,
        num_mels=shape.num_mels,
        seed=config.train.seed,
    )
    condition = ValidationCondition("crops", CROPS, None)
    return train_recognizer(
        examples,
        validator(valid, [condition], tokenizer, accelerator, shape.num_mels),
        tokenizer,
        model_config=shape,
        train_config=config.train,
        run_folder=run_folder,
        accelerator=accelerator,
        frame_weight=config.frame_weight,
        initial=initial,
        info={"prepared": str(prepared), "corpus_sha256": sha256_file(prepared / "corpus.json")},
    )
