"""The main job: speech drives lips, both go into a recogniser, WER under noise comes out.

The stages of a recipe, each resumable and each leaving its result in a folder of the run:

    motion        loss/ judge/ student/ motion.json     Learn2Talk: sync experts and student
    pretrain      pretrain/                             one network for all streams
    audio_visual  audio_visual/                         goes on from it, chosen by noisy WER
    audio         audio/                                goes on from it on sound alone: the baseline
    decode        mixtures.jsonl hypotheses.jsonl       SNR x noise x seed x visual source
    report        results.json results.md report.html   scores with intervals, plot, page
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsr.data.augment import AugmentConfig
from avsr.data.dataset import (
    AUDIO_ONLY_MIX,
    AUDIO_VISUAL_MIX,
    FINE_TUNING_MIX,
    TrainingDataset,
)
from avsr.data.manifest import decode_array, load_face_templates, load_prepared
from avsr.data.mixtures import (
    MixtureManifest,
    MixtureRow,
    build_mixture_manifest,
    manifest_sha256,
    render_mixture,
)
from avsr.data.noise_bank import NoiseBank, NoiseConfig, check_disjoint
from avsr.data.random_mixtures import random_mixture
from avsr.decode.config import DecodingConfig
from avsr.evaluate import (
    GENERATED_SOURCES,
    LipGenerator,
    System,
    VisualInputs,
    another_audio,
    decode_split,
)
from avsr.files import read_json, read_jsonl, sha256_file, write_json, write_jsonl
from avsr.models.fusion import STREAMS
from avsr.models.language_model import LanguageModelConfig
from avsr.models.recognizer import RecognizerConfig
from avsr.pretrained.speech_encoders import load_speech_encoder
from avsr.text import Tokenizer, normalise, text_problem, train_tokenizer
from avsr.training.chunks import ChunkTrainingConfig
from avsr.training.language_model import load_language_model, train_language_model
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    ValidationCondition,
    is_trained,
    load_recognizer,
    train_recognizer,
    validator,
)
from avsr.training.run_folder import same_run
from learn2talk.animate import generate_lips
from learn2talk.evaluate import evaluate_student, evaluate_sync_expert
from learn2talk.files import load_student
from learn2talk.models.sync_expert import SyncExpertConfig
from learn2talk.training import (
    StudentTrainConfig,
    SyncTrainConfig,
    config_facts,
    train_student,
    train_sync_expert,
)

if TYPE_CHECKING:
    import datasets
    from torch import Tensor

VISUAL_SOURCES = (
    "mouth_crops",
    "tracked_lips",
    "generated_from_clean",
    "generated_from_noisy",
    "generated_from_other",
    "still",
)
ROBUST = "student_robust"  # folder of the student for noisy sound
SYSTEMS = ("audio", "video", "audio_visual")
FUSED = ("pretrain", "audio_visual")  # trained on all streams
OWN_STREAM = {"audio": ("audio",), "video": ("crops",)}
STREAM_MIX: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "pretrain": AUDIO_VISUAL_MIX,
    "audio_visual": FINE_TUNING_MIX,
    "audio": AUDIO_ONLY_MIX,
    "video": ((("crops",), 1.0),),
}


@dataclass(frozen=True)
class ClosedLoopConfig:
    """Everything that can vary in the main job."""

    # Recognisers under test. With "audio_visual" among them, it and "audio" go on from one network;
    # without it each is trained from its start on its own stream.
    systems: tuple[str, ...] = ("audio", "audio_visual")
    visual_sources: tuple[str, ...] = VISUAL_SOURCES  # what "audio_visual" is decoded with
    sync: SyncTrainConfig = field(default_factory=SyncTrainConfig)
    student: StudentTrainConfig = field(default_factory=StudentTrainConfig)
    # A second student goes on from the first, hearing noise at the levels of ``student.hearing``:
    # it makes the lips that come from noisy sound. False: the first one makes them too.
    robust: bool = False
    robust_training: TrainConfig = field(
        default_factory=lambda: TrainConfig(max_updates=400, max_frames=600, validate_every=100)
    )
    # Two phases. The first is one network for every stream, changed strongly; both recognisers go
    # on from it, with the same light changes: the audio-visual one, and the baseline on sound
    # alone. So neither rival has more design, data or schedule than the other. (Sound alone as the
    # first phase was tried: the mouth crops then hardly learn beside it.)
    pretrain: TrainConfig = field(default_factory=TrainConfig)
    audio: TrainConfig = field(default_factory=TrainConfig)
    audio_visual: TrainConfig = field(default_factory=TrainConfig)
    video: TrainConfig = field(default_factory=TrainConfig)  # on mouth crops alone
    pretrain_augment: AugmentConfig = field(default_factory=AugmentConfig)
    # A masked word cannot be guessed where the grammar is free, and noise is a strong change.
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(
            stretch=0.05,
            time_masks=0,
            frequency_masks=1,
            frequency_mask_bands=8,
            lip_noise_mm=0.1,
        )
    )
    model: RecognizerConfig = field(default_factory=lambda: RecognizerConfig(vocabulary_size=2))
    # A trained recogniser (file, published folder, owner/name) that all go on from, in place of the
    # first phase. Its vocabulary is kept; heads and streams may differ, sizes not.
    initial: str | None = None
    # Folder or hub id of a wav2vec 2.0, HuBERT, WavLM or Whisper, in place of our audio encoder.
    speech_encoder: str | None = None
    speech_encoder_trained: bool = False  # fine-tuned too; False keeps it as it is
    vocabulary_size: int = 160  # SentencePiece pieces wished for; the tokenizer decides
    chunks: ChunkTrainingConfig = field(default_factory=ChunkTrainingConfig)  # for streaming
    frame_weight: float = 0.15  # of the frame loss against word times beside CTC; 0 is CTC alone
    attention_weight: float = 0.0  # of the attention decoder beside CTC; needs model.decoder_layers
    transducer_weight: float = 0.0  # of the transducer beside the others; needs model.transducer
    generated_lips_share: float = 0.5  # of training utterances with lips, how many get generated
    # Of the generated lips beside sound, how many come from that sound, noise included, and so
    # may be wrong: fusion must learn whom to trust. The others come from the clean sound.
    noisy_lips_share: float = 0.5
    training_snr_db: tuple[float, float] = (-10.0, 20.0)
    training_clean_share: float = 0.2
    valid_snr_db: float = -2.5  # of the noisy validation that selects the checkpoint
    noise_types: tuple[str, ...] = ("babble_4",)
    snrs_db: tuple[float, ...] = (-10.0, -7.5, -5.0, -2.5, 0.0, 2.5, 5.0, 10.0)
    noise_seeds: tuple[int, ...] = (0, 1, 2)
    decoding: DecodingConfig = field(default_factory=lambda: DecodingConfig("ctc", beam_size=8))
    # Of the training texts, for joint decoding with an lm_weight above 0; else not trained.
    language_model: LanguageModelConfig = field(default_factory=lambda: LanguageModelConfig(2))
    language_model_training: TrainConfig = field(default_factory=TrainConfig)  # frames are tokens
    language_model_texts: Path | None = None  # further sentences, one a line, none of the test's

    def __post_init__(self) -> None:
        for what, given, known in (
            ("systems", self.systems, SYSTEMS),
            ("visual_sources", self.visual_sources, VISUAL_SOURCES),
        ):
            if not given or set(given) - set(known):
                raise ValueError(f"{what} {list(given)}: choose from {', '.join(known)}")
        bad = [snr for snr in self.snrs_db if not math.isfinite(snr)]
        if bad:
            raise ValueError(f"SNRs {bad} are not finite; clean is always decoded and not listed")
        # A head without a weight would be decoded by as chance left it.
        for weight, head, there in (
            ("attention_weight", "model.decoder_layers", self.model.decoder_layers),
            ("transducer_weight", "model.transducer", self.model.transducer),
        ):
            if (getattr(self, weight) > 0) != bool(there):
                raise ValueError(
                    f"{weight} {getattr(self, weight)} and {head} {there}: a weight above 0 needs "
                    "the head, and the head needs a weight above 0"
                )
        for name in ("generated_lips_share", "noisy_lips_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} {getattr(self, name)} must be in [0, 1]")

    @property
    def is_fused(self) -> bool:
        """Whether the recogniser of all streams is trained."""
        return "audio_visual" in self.systems

    @property
    def uses_student(self) -> bool:
        """Whether lips are generated anywhere, so that a student is needed."""
        tested = any(source in GENERATED_SOURCES for source in self.visual_sources)
        return self.is_fused and (tested or self.generated_lips_share > 0)

    @property
    def uses_language_model(self) -> bool:
        """Whether decoding asks a language model, which is trained then."""
        return self.decoding.method == "joint" and self.decoding.lm_weight > 0

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks to train, in their order."""
        fused = ("audio_visual",) if self.initial is not None else FUSED
        first = fused if self.is_fused else ()
        return (*first, *(name for name in self.systems if name != "audio_visual"))

    def training_of(self, system: str) -> TrainConfig:
        """How ``"pretrain"``, a recogniser or ``"language_model"`` is trained.

        Raises:
            ValueError: another name.
        """
        settings = {
            "pretrain": self.pretrain,
            "audio_visual": self.audio_visual,
            "audio": self.audio,
            "video": self.video,
            "language_model": self.language_model_training,
        }
        if system not in settings:
            raise ValueError(f"recogniser {system!r} is not one of {', '.join(settings)}")
        return settings[system]


def train_motion(
    prepared: Path, run: Path, config: ClosedLoopConfig, noise: NoiseConfig | None = None
) -> dict[str, Any]:
    """Train both sync experts and the students, and measure them once on the test split.

    Raises:
        ValueError: a student for noise is asked for and there is no noise; what training refuses.
    """
    if config.robust and noise is None:
        raise ValueError("loop.robust trains a student on noise; give the noise of the recipe")
    out = run / "motion.json"
    accelerator = make_accelerator(config.student.train)
    if accelerator.is_main_process:
        facts = {
            "sync": config_facts(config.sync),
            "student": config_facts(config.student),
            "corpus_sha256": sha256_file(prepared / "corpus.json"),
        }
        if config.robust:  # absent where it is off, as in the runs from before
            facts["robust"] = asdict(config.robust_training)
        same_run(run / "motion.config.json", facts, "sync experts and student")
    if out.exists():
        return dict(read_json(out))

    def expert_config(role: Any, part: Any, seed: int) -> SyncTrainConfig:
        model: SyncExpertConfig = replace(config.sync.model, role=role)
        training = replace(config.sync.train, seed=seed)
        return replace(config.sync, model=model, train=training, part=part)

    train_sync_expert(prepared, run / "loss", expert_config("loss", "first", 0))
    train_sync_expert(prepared, run / "judge", expert_config("judge", "second", 1))
    train_student(prepared, run / "student", run / "loss", config.student)
    if config.robust:
        told = replace(config.student, train=config.robust_training)
        first = run / "student"
        train_student(prepared, run / ROBUST, run / "loss", told, initial=first, noise=noise)
    if accelerator.is_main_process:
        figures = {
            "sync_loss": evaluate_sync_expert(run / "loss", prepared, role="loss"),
            "sync_judge": evaluate_sync_expert(run / "judge", prepared, role="judge"),
            "student": evaluate_student(run / "student", run / "judge", prepared),
        }
        if config.robust:
            figures[ROBUST] = evaluate_student(run / ROBUST, run / "judge", prepared)
        write_json(out, figures)
    accelerator.wait_for_everyone()
    return dict(read_json(out))


def make_tokenizer(
    rows: datasets.Dataset,
    vocabulary_size: int,
    prepared: Path | None = None,
    initial: str | None = None,
) -> Tokenizer:
    """The SentencePiece model of ``initial`` or of the prepared corpus, else one of the texts.

    It is the same on every process, as training is exact.
    """
    if initial is not None:
        return load_recognizer(initial)[1]
    path = None if prepared is None else prepared / "tokenizer.model"
    if path is not None and path.is_file():
        return Tokenizer(path.read_bytes())
    return Tokenizer(train_tokenizer(rows["text"], vocabulary_size))


def learnable(
    rows: datasets.Dataset, tokenizer: Tokenizer, shortest: float
) -> tuple[datasets.Dataset, list[dict[str, Any]]]:
    """The utterances that CTC can learn, and the others with the reason.

    Args:
        shortest: what augmentation leaves of an utterance's frames at least, a share.
    """
    kept, skipped = [], []
    columns = (rows["utterance_id"], rows["text"], rows["num_frames"])
    for place, (name, text, frames) in enumerate(zip(*columns, strict=True)):
        problem = text_problem(text, math.floor(frames * shortest), tokenizer)
        if problem is None:
            kept.append(place)
        else:
            skipped.append({"utterance_id": name, "reason": problem})
    return (rows.select(kept) if skipped else rows), skipped


def _validation(
    rows: datasets.Dataset, noise: NoiseConfig, config: ClosedLoopConfig, system: str
) -> list[ValidationCondition]:
    if system == "video":
        return [ValidationCondition("crops", ("crops",), None)]
    mixtures = ValidationMixtures(rows, NoiseBank(noise, "valid"), config.valid_snr_db)
    conditions = [
        ValidationCondition("audio_clean", ("audio",), None),
        ValidationCondition("audio_noisy", ("audio",), mixtures),
    ]
    if system in FUSED:
        conditions += [
            ValidationCondition("crops", ("crops",), None),
            ValidationCondition("lips", ("lips",), None),
            ValidationCondition("audio_crops_clean", ("audio", "crops"), None),
            ValidationCondition("audio_crops_noisy", ("audio", "crops"), mixtures),
            ValidationCondition("audio_lips_noisy", ("audio", "lips"), mixtures),
        ]
    return conditions


class ValidationMixtures(Mapping[str, np.ndarray]):
    """Utterance id to its noisy sound, float32 (S,): rendered whenever it is asked for.

    One noise type an utterance, in turn: 50 utterances see all of them.
    """

    def __init__(self, rows: datasets.Dataset, bank: NoiseBank, snr_db: float) -> None:
        self.sounds, self.bank, self.snr_db = rows.select_columns(["audio"]), bank, snr_db
        self.places = {name: place for place, name in enumerate(rows["utterance_id"])}
        self.mixtures: dict[str, MixtureRow] = {}

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        place = self.places[utterance_id]
        speech = decode_array(self.sounds[place]["audio"])
        if utterance_id not in self.mixtures:
            manifest = build_mixture_manifest(
                [(utterance_id, speech)],
                self.bank,
                noise_types=[self.bank.types[place % len(self.bank.types)]],
                snrs_db=[self.snr_db],
                seeds=[0],
            )
            self.mixtures[utterance_id] = manifest.rows[0]
        return render_mixture(self.mixtures[utterance_id], speech, self.bank)


class GeneratedLips:
    """Lips of the training utterances, made by the student from their clean or their noisy audio.

    They are made when they are asked for: a student takes milliseconds a clip, and the lips of a
    large corpus would fill the memory.

    Args:
        student: folder of the student.
        share: how often generated lips replace the tracked ones.
        noisy_share: of these, how often they come from the sound that is heard beside them.
        robust: folder of the student that makes these; None: the same student.
    """

    def __init__(
        self, student: Path, share: float, noisy_share: float, robust: Path | None = None
    ) -> None:
        self.share, self.noisy_share = share, noisy_share
        self.student = load_student(student)
        self.robust = self.student if robust is None else load_student(robust)

    def __call__(
        self,
        tracked: np.ndarray,
        clean: np.ndarray,
        heard: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Tracked lips (T, 40, 3) or lips of the ``clean`` (S,) or the ``heard`` sound (S,)."""
        if rng.random() >= self.share:
            return tracked
        if heard is not None and rng.random() < self.noisy_share:
            return generate_lips(self.robust, [heard])[0]
        return generate_lips(self.student, [clean])[0]


def train_system(
    name: str, prepared: Path, run: Path, noise: NoiseConfig, config: ClosedLoopConfig
) -> Path:
    """Train one of ``config.trained``; returns its best weights.

    They go on from ``config.initial`` where it is given; else, beside ``"audio_visual"``, from
    ``pretrain``, which must be trained. Utterances that CTC cannot learn are left out and listed in
    ``<name>.skipped.jsonl``.

    Raises:
        ValueError: another name, or what training refuses.
    """
    settings = config.training_of(name)
    check_disjoint(noise)
    if is_trained(run / name, settings):
        return run / name / "best.safetensors"
    initial: str | Path | None = config.initial
    if initial is None and name in ("audio_visual", "audio") and config.is_fused:
        initial = run / "pretrain" / "best.safetensors"
        if not is_trained(run / "pretrain", config.pretrain):
            raise ValueError(f"{initial.parent}: is not trained to its end; run stage pretrain")
    accelerator = make_accelerator(settings)
    rows, valid = load_prepared(prepared, "train"), load_prepared(prepared, "valid")
    tokenizer = make_tokenizer(rows, config.vocabulary_size, prepared, config.initial)
    augment = config.pretrain_augment if name == "pretrain" else config.augment
    rows, skipped = learnable(rows, tokenizer, 1.0 - augment.stretch)
    if accelerator.is_main_process and skipped:
        count = write_jsonl(run / f"{name}.skipped.jsonl", skipped)
        accelerator.print(f"{name}: {count} utterances cannot be learned, see {name}.skipped.jsonl")
    model_config, speech_weights = _network(name, config)
    bank = NoiseBank(noise, "train")
    bank.warm()

    def mix(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return random_mixture(
            waveform,
            bank,
            rng,
            snr_range_db=config.training_snr_db,
            clean_probability=config.training_clean_share,
        ).waveform

    lips = None
    if name in FUSED and config.generated_lips_share > 0:
        lips = GeneratedLips(
            run / "student",
            config.generated_lips_share,
            config.noisy_lips_share,
            run / ROBUST if config.robust else None,
        )
    examples = TrainingDataset(
        rows,
        encode=tokenizer.encode,
        stream_mix=STREAM_MIX[name],
        mix_noise=mix,
        augment=augment,
        choose_lips=lips,
        num_mels=model_config.num_mels,
        seed=settings.seed,
    )
    conditions = _validation(valid, noise, config, name)
    validate = validator(valid, conditions, tokenizer, accelerator, model_config.num_mels)
    return train_recognizer(
        examples,
        validate,
        tokenizer,
        model_config=model_config,
        train_config=settings,
        run_folder=run / name,
        accelerator=accelerator,
        frame_weight=config.frame_weight,
        chunk_training=config.chunks,
        attention_weight=config.attention_weight,
        transducer_weight=config.transducer_weight,
        initial=initial,
        speech_weights=speech_weights,
        info={"prepared": str(prepared), "corpus_sha256": sha256_file(prepared / "corpus.json")},
    )


def _network(
    name: str, config: ClosedLoopConfig
) -> tuple[RecognizerConfig, dict[str, Tensor] | None]:
    """Shape of a recogniser, and the weights of its pretrained speech encoder if it has one."""
    shape = replace(config.model, streams=_streams(name, config))
    if config.speech_encoder is None or "audio" not in shape.streams:
        return shape, None
    encoder, weights = load_speech_encoder(
        config.speech_encoder, trained=config.speech_encoder_trained, weighted_layers=True
    )
    return replace(shape, num_mels=None, speech_encoder=encoder.to_json()), weights


def _streams(name: str, config: ClosedLoopConfig) -> tuple[Any, ...]:
    """All streams where networks go on from one another, else the network's own."""
    return STREAMS if config.is_fused and name != "video" else OWN_STREAM[name]


def train_texts(prepared: Path, run: Path, config: ClosedLoopConfig) -> Path:
    """Train the language model on the training texts, and those of ``language_model_texts``.

    Raises:
        ValueError: what training refuses.
    """
    settings, folder = config.language_model_training, run / "language_model"
    if is_trained(folder, settings):
        return folder / "best.safetensors"
    rows = load_prepared(prepared, "train")
    tokenizer = make_tokenizer(rows, config.vocabulary_size, prepared, config.initial)
    info = {"corpus_sha256": sha256_file(prepared / "corpus.json")}
    texts, further = list(rows["text"]), config.language_model_texts
    if further is not None:
        info["texts_sha256"] = sha256_file(further)
        with further.open(encoding="utf-8") as lines:
            texts += [line for line in lines if line.strip()]
    valid = [text for text in load_prepared(prepared, "valid")["text"] if normalise(text)]
    return train_language_model(
        [text for text in texts if normalise(text)],  # an utterance may have no words
        valid,
        tokenizer,
        model_config=config.language_model,
        train_config=settings,
        run_folder=folder,
        accelerator=make_accelerator(settings),
        info=info,
    )


def mixture_manifest(
    rows: datasets.Dataset, bank: NoiseBank, run: Path, config: ClosedLoopConfig
) -> MixtureManifest:
    """The test mixtures, built once and kept in ``mixtures.jsonl``."""
    path = run / "mixtures.jsonl"
    facts = {
        "noise_types": config.noise_types,
        "snrs_db": config.snrs_db,
        "noise_seeds": config.noise_seeds,
        "utterances": len(rows),
    }
    same_run(run / "mixtures.config.json", facts, "mixtures")
    if path.exists():
        kept = tuple(MixtureRow.from_row(row) for row in read_jsonl(path))
        return MixtureManifest(kept, manifest_sha256(kept))
    audio = rows.select_columns(["utterance_id", "audio"])
    manifest = build_mixture_manifest(
        ((row["utterance_id"], decode_array(row["audio"])) for row in audio),
        bank,
        noise_types=config.noise_types,
        snrs_db=(None, *config.snrs_db),
        seeds=config.noise_seeds,
    )
    write_jsonl(path, (row.to_row() for row in manifest.rows))
    return manifest


def _generator(folder: Path, is_used: bool) -> LipGenerator | None:
    if not is_used:
        return None
    student = load_student(folder)
    return lambda waveforms: generate_lips(student, waveforms)


def _student_facts(run: Path, config: ClosedLoopConfig) -> dict[str, str]:
    if not config.uses_student:
        return {}
    names = ("student", ROBUST) if config.robust else ("student",)
    return {f"{name}_sha256": sha256_file(run / name / "student.safetensors") for name in names}


def decode(
    prepared: Path,
    run: Path,
    noise: NoiseConfig,
    config: ClosedLoopConfig,
    *,
    process_index: int = 0,
    num_processes: int = 1,
) -> None:
    """Decode this process's share of the test split; the mixture manifest must be there."""
    rows = load_prepared(prepared, "test")
    bank = NoiseBank(noise, "test")
    sources = {"audio": (), "video": ("mouth_crops",), "audio_visual": config.visual_sources}
    weights = {name: run / name / "best.safetensors" for name in config.systems}
    systems = [System(n, *load_recognizer(path), sources[n]) for n, path in weights.items()]
    if config.uses_language_model:
        weights["language_model"] = run / "language_model" / "best.safetensors"
        texts = load_language_model(weights["language_model"], systems[0].tokenizer)
        systems = [replace(system, language_model=texts) for system in systems]
    templates = load_face_templates(prepared)
    ids = np.concatenate([templates.regions["lips_outer"], templates.regions["lips_inner"]])
    inputs = VisualInputs(
        generate=_generator(run / "student", config.uses_student),
        generate_from_noisy=_generator(run / ROBUST, config.uses_student and config.robust),
        still_lips={name: neutral[ids] for name, neutral in templates.templates.items()},
        other_audio=another_audio(rows) if config.uses_student else None,
    )
    manifest = mixture_manifest(rows, bank, run, config)
    facts = {
        "mixtures_sha256": manifest.sha256,
        "beam_size": config.decoding.beam_size,
        # Absent for the prefix beam, as in the runs from before there was a choice.
        **({} if config.decoding.method == "ctc" else {"decoding": asdict(config.decoding)}),
        **_student_facts(run, config),
        **{f"{name}_sha256": sha256_file(path) for name, path in weights.items()},
    }
    if process_index == 0:
        same_run(run / "hypotheses.config.json", facts, "hypotheses")
    decode_split(
        rows,
        manifest.rows,
        bank,
        systems,
        inputs,
        run / "hypotheses",
        decoding=config.decoding,
        process_index=process_index,
        num_processes=num_processes,
    )
