"""Waveform to log-mel features, on the toolkit's time base."""

# B batch, S samples, T video frames, K = 4 T feature frames, F mel bands

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from avsr.units import FEATURES_PER_FRAME, HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from avsr.units import SAMPLES_PER_FRAME as FRAME

POWER_FLOOR = 1e-6  # of a [-1, 1] signal's mel power: about the noise of 16-bit sound
FFT_SIZE = 512
MARGIN = (
    WINDOW_SAMPLES - HOP_SAMPLES
) // 2  # samples that a window reaches over its hop, each side


@lru_cache(maxsize=4)
def _mel_filters(num_mels: int) -> Tensor:
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(
        FFT_SIZE // 2 + 1, 20.0, SAMPLE_RATE_HZ / 2, num_mels, SAMPLE_RATE_HZ, mel_scale="htk"
    )


@lru_cache(maxsize=4)
def _whisper_filters(num_mels: int) -> Tensor:
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(
        WINDOW_SAMPLES // 2 + 1,
        0.0,
        SAMPLE_RATE_HZ / 2,
        num_mels,
        SAMPLE_RATE_HZ,
        "slaney",
        "slaney",
    )


def log_mel(waveform: Tensor, num_mels: int = 80) -> Tensor:
    """Log-mel spectrogram with exactly four frames for each 25 fps video frame.

    Frame k is a 25 ms Hann window centred on sample 160 k + 80; outside the signal there are zeros.
    The waveform is first cut into whole video frames, the last one filled with zeros, so that an
    utterance alone and the same utterance zero-padded in a batch give the same frames.

    Args:
        waveform: float (B, S) at 16 kHz in [-1, 1], S >= 1; padding must be zeros.
        num_mels: number of HTK mel bands from 20 Hz to 8 kHz.

    Returns:
        float32 (B, 4 * ceil(S / 640), num_mels): natural log of the mel power, floored.

    Raises:
        ValueError: not two-dimensional, or no samples.
    """
    if waveform.ndim != 2 or waveform.shape[1] == 0:
        raise ValueError(
            f"log_mel takes (B, S) with S >= 1, got shape {tuple(waveform.shape)}; "
            "add a batch axis, or give a file with sound in it"
        )
    num_frames = -(-waveform.shape[1] // FRAME)
    right = num_frames * FRAME - waveform.shape[1] + MARGIN
    padded = torch.nn.functional.pad(waveform.float(), (MARGIN, right))
    return _log_mel_of_windows(padded, num_mels)[:, : num_frames * FEATURES_PER_FRAME]


def _log_mel_of_windows(padded: Tensor, num_mels: int) -> Tensor:
    """Log-mel (B, K, F) of all whole windows of (B, S)."""
    windows = padded.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
    hann = torch.hann_window(WINDOW_SAMPLES, device=padded.device)
    power = torch.fft.rfft(windows * hann, n=FFT_SIZE).abs().square() / WINDOW_SAMPLES
    mel = power @ _mel_filters(num_mels).to(padded.device)
    return mel.clamp_min(POWER_FLOOR).log()


class StreamingLogMel:
    """:func:`log_mel` of one utterance, computed while its samples arrive.

    The last window of a video frame reaches 120 samples (7.5 ms) over its end: so long the frame
    waits. However the samples are cut, the features are those of the whole utterance.
    """

    look_ahead_samples = MARGIN

    def __init__(self, num_mels: int = 80) -> None:
        self.num_mels = num_mels
        self.kept = torch.zeros(1, MARGIN)  # samples of windows still to come
        self.num_samples = 0

    def push(self, samples: Tensor) -> Tensor:
        """Features (K, F) that are now complete, of the next samples (S,) in [-1, 1], any S."""
        self.num_samples += len(samples)
        return self._take(samples.float())

    def finish(self) -> Tensor:
        """The last features (K, F): the last video frame is filled with zeros."""
        missing = -self.num_samples % FRAME
        return self._take(torch.zeros(missing + MARGIN if self.num_samples else 0))

    def _take(self, samples: Tensor) -> Tensor:
        self.kept = torch.cat([self.kept, samples[None]], dim=1)
        count = max(0, (self.kept.shape[1] - WINDOW_SAMPLES) // HOP_SAMPLES + 1)
        if count == 0:
            return samples.new_zeros(0, self.num_mels)
        features = _log_mel_of_windows(self.kept, self.num_mels)[0]
        self.kept = self.kept[:, count * HOP_SAMPLES :]
        return features


def whisper_log_mel(waveform: Tensor, lengths: Tensor, num_mels: int = 80) -> Tensor:
    """Whisper's log-mel spectrogram (Radford et al. 2022, section 2.2), without its 30 s padding.

    Frame k is a 25 ms Hann window centred on sample 160 k; before the signal stands its mirror
    image, after it zeros. Values are limited to 8 decades below the utterance's loudest and scaled
    as Whisper expects them. They equal the first frames of the padded spectrogram, and an utterance
    alone those of the same utterance in a batch.

    Args:
        waveform: float (B, S) at 16 kHz in [-1, 1], S > 200, a multiple of 160, zeros after each
            utterance's end.
        lengths: int (B,) samples of each utterance.
        num_mels: 80, or 128 for the largest networks.

    Returns:
        float32 (B, S / 160, num_mels); beyond an utterance's end its floor.
    """
    margin = WINDOW_SAMPLES // 2
    sound = waveform.float()
    sound = torch.cat([sound[:, 1 : margin + 1].flip(1), sound], 1)
    sound = torch.nn.functional.pad(sound, (0, margin))
    windows = sound.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)[:, : waveform.shape[1] // HOP_SAMPLES]
    hann = torch.hann_window(WINDOW_SAMPLES, device=waveform.device)
    power = torch.fft.rfft(windows * hann).abs().square()
    mel = (power @ _whisper_filters(num_mels).to(waveform.device)).clamp_min(1e-10).log10()
    frames = torch.arange(mel.shape[1], device=mel.device)
    inside = (frames[None] * HOP_SAMPLES < lengths[:, None])[..., None]
    loudest = mel.masked_fill(~inside, -10.0).amax((1, 2), keepdim=True)
    floored = torch.maximum(mel.masked_fill(~inside, -10.0), loudest - 8.0)
    return (floored + 4.0) / 4.0
