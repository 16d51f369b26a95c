"""One process of a scale benchmark: ``work.py <task> <corpus> <out folder> [updates]``.

Tasks: train, decode; and, for memory, nothing, training_data, assembly, validation, decoding.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402

from avsr.data.collate import collate  # noqa: E402
from avsr.data.dataset import AUDIO_VISUAL_MIX, TrainingDataset  # noqa: E402
from avsr.data.manifest import decode_array, load_prepared  # noqa: E402
from avsr.data.mixtures import build_mixture_manifest  # noqa: E402
from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit  # noqa: E402
from avsr.data.sampler import BatchStream  # noqa: E402
from avsr.evaluate import System, VisualInputs, decode_split  # noqa: E402
from avsr.files import write_json  # noqa: E402
from avsr.models.recognizer import Recognizer, RecognizerConfig  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.loop import TrainConfig, make_accelerator  # noqa: E402
from avsr.training.recognizer import (  # noqa: E402
    ValidationCondition,
    train_recognizer,
    validator,
)
from benchmarks.scale.corpus import tokenizer, write_corpus  # noqa: E402

MAX_FRAMES = 600
# Without dropout: its draws differ between processes, and so would the curves that are compared.
TINY = RecognizerConfig(
    vocabulary_size=2,
    width=32,
    num_heads=2,
    fused_layers=1,
    video_channels=(8, 8, 16),
    dropout=0.0,
)


def training_set(corpus: Path) -> TrainingDataset:
    """The training split as a recipe reads it, without noise."""
    return TrainingDataset(
        load_prepared(corpus, "train"),
        encode=tokenizer().encode,
        stream_mix=AUDIO_VISUAL_MIX,
        mix_noise=None,
        augment=None,
    )


def train(corpus: Path, out: Path, updates: int) -> None:
    """A short training of a tiny network; kill it and start it again as you like."""
    config = TrainConfig(
        max_updates=updates,
        warmup_updates=5,
        max_frames=MAX_FRAMES,
        batches_per_update=4,
        validate_every=max(1, updates // 4),
        precision="float32",
    )
    accelerator = make_accelerator(config, cpu=True)
    conditions = [ValidationCondition("audio_crops", ("audio", "crops"), None)]
    valid = load_prepared(corpus, "valid")
    train_recognizer(
        training_set(corpus),
        validator(valid, conditions, tokenizer(), accelerator, 80),
        tokenizer(),
        model_config=TINY,
        train_config=config,
        run_folder=out,
        accelerator=accelerator,
        info={},
    )
    accelerator.end_training()


def untrained() -> Recognizer:
    """The tiny network with random weights."""
    torch.manual_seed(0)
    return Recognizer(
        RecognizerConfig(**{**vars(TINY), "vocabulary_size": tokenizer().size})
    ).eval()


def decode(corpus: Path, out: Path) -> None:
    """Decode the test split in white noise and clean, with sound, pictures and both."""
    accelerator = make_accelerator(TrainConfig(), cpu=True)
    rows = load_prepared(corpus, "test")
    white = NoiseSplit(types=("white",))
    bank = NoiseBank(NoiseConfig(root=corpus, train=white, valid=white, test=white), "test")
    sounds = rows.select_columns(["utterance_id", "audio"])
    mixtures = build_mixture_manifest(
        ((row["utterance_id"], decode_array(row["audio"])) for row in sounds),
        bank,
        noise_types=("white",),
        snrs_db=(0.0, None),
        seeds=(0,),
    )
    systems = [System("tiny", untrained(), tokenizer(), ("mouth_crops",))]
    decode_split(  # by the CTC prefix beam
        rows,
        mixtures.rows,
        bank,
        systems,
        VisualInputs(),
        out,
        process_index=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )
    accelerator.end_training()


def training_data(corpus: Path) -> None:
    """Read one epoch of training batches."""
    data = training_set(corpus)
    data.leave_out_untrainable(tokenizer())
    stream, position = BatchStream(data.num_frames, max_frames=MAX_FRAMES, seed=0), 0
    while True:
        epoch, indices = stream.locate(position)
        if epoch:
            break
        collate([data.example(index, epoch) for index in indices])
        position += 1


def validation(corpus: Path) -> None:
    """Validate a tiny network on the test split."""
    conditions = [
        ValidationCondition("audio", ("audio",), None),
        ValidationCondition("audio_crops", ("audio", "crops"), None),
    ]
    accelerator = make_accelerator(TrainConfig(), cpu=True)
    rows = load_prepared(corpus, "test")
    with torch.no_grad():
        validator(rows, conditions, tokenizer(), accelerator, 80)(untrained())


@contextmanager
def peak_memory(out: Path) -> Iterator[None]:
    """Write the process's peaks in MiB: what it allocated, and that with mapped file pages."""
    # Sampled: ru_maxrss of a child starts at its parent's peak, so it cannot tell them apart.
    stop, peak = threading.Event(), {"RssAnon": 0, "VmRSS": 0}

    def watch() -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in peak:
                    peak[name] = max(peak[name], int(value.split()[0]))
            if stop.wait(0.02):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    mib = {name: kib / 1024 for name, kib in peak.items()}
    write_json(out, {"allocated_mib": mib["RssAnon"], "with_mapped_files_mib": mib["VmRSS"]})


def measured(task: str, corpus: Path, out: Path) -> None:
    """Do a task once and write its peaks to ``out``/peak.json."""
    use_one_thread()
    with peak_memory(out / "peak.json"):
        if task == "training_data":
            training_data(corpus)
        elif task == "validation":
            validation(corpus)
        elif task == "decoding":
            decode(corpus, out / "hypotheses")
        elif task == "assembly":
            count = len(load_prepared(corpus, "train"))
            write_corpus(out / "assembled", {"train": count})


if __name__ == "__main__":
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    task, corpus, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    if task == "train":
        train(corpus, out, int(sys.argv[4]))
    elif task == "decode":
        decode(corpus, out)
    else:
        measured(task, corpus, out)
