"""Speed of mixing, features, recogniser and beam search on one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsr.audio import log_mel
from avsr.data.collate import collate
from avsr.data.dataset import Example
from avsr.decode.ctc import ctc_prefix_beam
from avsr.models.fusion import Stream
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.noise import mix_at_snr
from avsr.schema import Batch
from avsr.training.recognizer import load_recognizer
from avsr.units import FEATURES_PER_FRAME, LIP_POINTS, SAMPLE_RATE_HZ, VIDEO_FPS
from benchmarks.timing.clock import Row, Work, measure

CLIP_S = 3.0
BEAM = 8
CROP = 88  # of the middle of a stored crop

# The size of the GRID recipe's network.
RECIPE_SIZE = RecognizerConfig(vocabulary_size=161, width=128, fused_layers=3)


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """float32 (S,) noise with the slow swells of speech; the time does not depend on the words."""
    samples = round(seconds * SAMPLE_RATE_HZ)
    swell = 1 + np.sin(2 * np.pi * 4 * np.arange(samples) / SAMPLE_RATE_HZ)
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.05 * swell * noise).astype(np.float32)


def recogniser_of(weights: Path | None) -> tuple[Recognizer, str]:
    """The network in eval mode, and what it is in words."""
    if weights is not None:
        return load_recognizer(weights)[0], f"trained, {weights.parent.name}/{weights.name}"
    torch.manual_seed(0)
    return Recognizer(RECIPE_SIZE).eval(), "random weights, the GRID recipe's size"


def example_batch(streams: tuple[str, ...], seconds: float, copies: int = 1) -> Batch:
    """A batch of equal clips with some of the streams "audio", "crops", "lips"."""
    rng = np.random.default_rng(0)
    frames = round(seconds * VIDEO_FPS)
    there = np.ones(frames, dtype=bool)
    audio = rng.standard_normal((frames * FEATURES_PER_FRAME, 80)).astype(np.float32)
    crops = rng.integers(0, 255, (frames, CROP, CROP), dtype=np.uint8)
    lips = rng.standard_normal((frames, LIP_POINTS, 3)).astype(np.float32)
    return collate(
        [
            Example(
                utterance_id=str(number),
                num_frames=frames,
                features=audio if "audio" in streams else None,
                mouth_crops=crops if "crops" in streams else None,
                lips=lips if "lips" in streams else None,
                crops_valid=there,
                lips_valid=there,
                tokens=tuple(1 + np.arange(15) % 20),
            )
            for number in range(copies)
        ]
    )


def features(calls: int, seconds: float = CLIP_S) -> list[Row]:
    """Mixing at an SNR and log-mel, beside torchaudio's."""
    from torchaudio.functional import add_noise
    from torchaudio.transforms import MelSpectrogram

    speech, noise = speech_like(seconds), speech_like(seconds, 1)
    tensors = torch.from_numpy(speech)[None], torch.from_numpy(noise)[None]
    spectrogram = MelSpectrogram(
        SAMPLE_RATE_HZ, n_fft=512, win_length=400, hop_length=160, n_mels=80
    )
    level = torch.zeros(1)

    def theirs() -> torch.Tensor:
        return spectrogram(add_noise(*tensors, level)).clamp_min(1e-6).log()

    def ours() -> torch.Tensor:
        mixed = mix_at_snr(speech, noise, 0.0).waveform
        return log_mel(torch.from_numpy(mixed.astype(np.float32))[None])

    name = "torchaudio add_noise + MelSpectrogram"
    work = {
        name: Work(theirs, seconds, "s of sound"),
        "mix_at_snr + log_mel": Work(ours, seconds, "s of sound", name),
        "mix_at_snr alone": Work(lambda: mix_at_snr(speech, noise, 0.0), seconds, "s of sound"),
        "log_mel alone": Work(lambda: log_mel(tensors[0]), seconds, "s of sound"),
    }
    return measure(f"Mixture and features, {seconds:g} s", work, calls)


@torch.no_grad()
def recogniser(calls: int, weights: Path | None = None, seconds: float = CLIP_S) -> list[Row]:
    """Each encoder, the whole network by modality, and the beam search, one clip on one thread."""
    model, _ = recogniser_of(weights)
    batches = {
        "A": example_batch(("audio",), seconds),
        "V": example_batch(("crops",), seconds),
        "AV": example_batch(("audio", "crops"), seconds),
        "AV with lips": example_batch(("audio", "lips"), seconds),
    }
    everything = example_batch(("audio", "crops", "lips"), seconds)
    there = torch.ones(1, int(everything.lengths[0]), dtype=torch.bool)
    streams = everything.streams(there)

    def encoder(name: Stream) -> Callable[[], Any]:
        return lambda: model.encode(name, streams[name][0], there)

    def whole(name: str) -> Callable[[], Any]:
        return lambda: model(batches[name])

    frames = model(batches["AV"])[0].log_softmax(-1).numpy()
    work = {
        f"encoder: {name}": Work(encoder(name), seconds, "s of sound")
        for name in model.config.streams
    }
    work |= {
        f"network: {name}": Work(
            whole(name), seconds, "s of sound", None if name == "A" else "network: A"
        )
        for name in batches
    }
    work[f"CTC prefix beam {BEAM}"] = Work(
        lambda: ctc_prefix_beam(frames, BEAM), seconds, "s of sound", "network: AV"
    )
    whisper = _whisper_tiny_encoder()
    padded = torch.zeros(1, 80, 3000)  # Whisper always computes 30 s
    work["Whisper tiny, its encoder alone (random weights)"] = Work(
        lambda: whisper(padded), seconds, "s of sound", "network: AV"
    )
    return measure(f"Recogniser, one {seconds:g} s clip, one thread", work, calls)


def _whisper_tiny_encoder() -> Any:
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        decoder_layers=4,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
    )
    return WhisperModel(config).eval().encoder
