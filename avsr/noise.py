"""Mixtures of speech and noise at a stated level, and the noises that are computed.

Pure functions on numpy float64; no file, no hidden random number. Axis letter: S samples at 16 kHz.

Signal-to-noise ratio in dB is 10 log10(speech power / noise power), powers being mean squares with
the mean (DC) removed. The noise's is over the whole segment, the speech's by one of two
definitions: ``"utterance"`` over all samples, ``"active_speech"`` over speech only, ITU-T Rec. P.56
(12/2011), method B. ``None`` is clean; 0 is 0 dB.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from avsr.units import SAMPLE_RATE_HZ

Level = Literal["utterance", "active_speech"]
LEVELS: tuple[str, ...] = get_args(Level)

SNR_LIMIT_DB = 100.0  # beyond it the weaker signal drowns in float64 and float32 rounding
SILENCE_RMS = 1e-9  # -180 dB of full scale: 85 dB below the last bit of int16
CROSSFADE_SAMPLES = 1600  # 0.1 s

P56_TIME_CONSTANT_S = 0.03
P56_HANGOVER_S = 0.2
P56_MARGIN_DB = 15.9


@dataclass(frozen=True)
class SpeechLevels:
    """Powers (mean squares, DC removed) of one utterance.

    ``power`` over all samples; ``active_power`` over active speech (P.56); ``activity`` the share
    of samples that is active, in (0, 1].
    """

    power: float
    active_power: float
    activity: float

    def of(self, level: Level) -> float:
        """The power that a level definition uses."""
        return self.power if level == "utterance" else self.active_power


@dataclass(frozen=True)
class Mixture:
    """Speech plus scaled noise, at full precision and never rescaled.

    ``waveform`` float64 (S,); ``noise_gain`` the factor on the noise (0 for clean); ``achieved_*``
    the SNR in dB measured on the finished mixture by both definitions, ``None`` for clean;
    ``peak`` the largest magnitude; ``would_clip`` whether it exceeds 1, full scale.
    """

    waveform: np.ndarray
    noise_gain: float
    snr_db: float | None
    level: Level
    achieved_snr_db_utterance: float | None
    achieved_snr_db_active_speech: float | None
    peak: float
    would_clip: bool


def check_snr(snr_db: Any) -> float | None:
    """``None`` (clean) or the SNR as a float in dB.

    Raises:
        ValueError: not a number (a bool or a string is none), NaN, infinite, or beyond 100 dB.
    """
    if snr_db is None:
        return None
    number = isinstance(snr_db, (int, float, np.integer, np.floating))
    if isinstance(snr_db, bool) or not number or not abs(float(snr_db)) <= SNR_LIMIT_DB:
        raise ValueError(
            f"SNR {snr_db!r} ({type(snr_db).__name__}) is not a number of dB between "
            f"{-SNR_LIMIT_DB:g} and {SNR_LIMIT_DB:g}; give a number, or None for clean"
        )
    return float(snr_db)


def check_level(level: str) -> Level:
    """The level definition, checked.

    Raises:
        ValueError: not one of ``LEVELS``.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    return level  # type: ignore[return-value]


def _checked(waveform: Any, name: str) -> np.ndarray:
    samples = np.asarray(waveform)
    if samples.ndim != 1 or samples.size == 0 or samples.dtype.kind != "f":
        raise ValueError(
            f"{name} has shape {samples.shape} and type {samples.dtype}; "
            "give float samples (S,) with S at least 1, mono"
        )
    samples = samples.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(samples))
    if bad.size:
        raise ValueError(
            f"{name} has {bad.size} NaN or infinite samples, the first at {bad[0]}; "
            "read the file again or remove it"
        )
    return samples


def signal_power(waveform: np.ndarray) -> float:
    """Mean square of (S,) samples after removing their mean, in float64."""
    samples = np.asarray(waveform, dtype=np.float64)
    centred = samples - samples.mean()
    # Not a dot product: BLAS would let the last bits depend on the number of threads.
    return float(np.square(centred, out=centred).mean())


def _audible_power(waveform: np.ndarray, name: str) -> float:
    power = signal_power(waveform)
    if not math.sqrt(power) > SILENCE_RMS:
        raise ValueError(
            f"{name} is silent: RMS {math.sqrt(power):.1e} without its mean, over "
            f"{len(waveform)} samples; give a recording with sound, or leave it out"
        )
    return power


def measure_speech(speech: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> SpeechLevels:
    """Levels of an utterance by both definitions.

    Active speech level: ITU-T P.56 method B. Envelope = |x| through two exponential averages of
    0.03 s; for thresholds at powers of two, activity counts samples whose envelope reaches the
    threshold and the 0.2 s after; the active level is where level minus threshold equals the
    margin of 15.9 dB, between thresholds by linear interpolation in dB. The thresholds go on below
    the 2^-15 of the Recommendation, so that a quiet recording is measured like a loud one. Where
    no threshold is within the margin (a click), the envelope's maximum takes the threshold's place.

    Args:
        speech: float (S,).

    Raises:
        ValueError: empty, not one-dimensional, not finite or silent speech.
    """
    samples = _checked(speech, "speech")
    power = _audible_power(samples, "speech")
    samples = samples - samples.mean()
    envelope = _p56_envelope(samples, sample_rate_hz)
    hangover = math.ceil(P56_HANGOVER_S * sample_rate_hz)
    level_db = 10 * math.log10(power)
    peak_db = 20 * math.log10(envelope.max())
    octave_db = 20 * math.log10(2)
    # The active level is at least the mean level, so here the excess over the margin is 0 or more.
    # From there upwards, as it may turn positive again: few samples are left at high thresholds.
    exponent = math.floor((level_db - P56_MARGIN_DB) / octave_db)
    active_db, excess_db = level_db, 0.0
    while exponent * octave_db <= peak_db:
        active = _active_samples(envelope >= 2.0**exponent, hangover)
        below_db, below_excess_db = active_db, excess_db
        active_db = level_db + 10 * math.log10(samples.size / active)
        excess_db = active_db - exponent * octave_db - P56_MARGIN_DB
        if excess_db < 0:
            step = below_excess_db / (below_excess_db - excess_db)
            active_db = below_db + step * (active_db - below_db)
            break
        exponent += 1
    else:
        # A click: even the highest threshold lies more than the margin below its level. No
        # threshold lies above the envelope's maximum, so that is the bound.
        active_db = max(level_db, min(active_db, peak_db + P56_MARGIN_DB))
    active_power = 10 ** (active_db / 10)
    return SpeechLevels(power, active_power, min(1.0, power / active_power))


def _p56_envelope(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Two cascaded one-pole averages of |x| as one convolution with (1-g)^2 (n+1) g^n by FFT."""
    g = math.exp(-1 / (sample_rate_hz * P56_TIME_CONSTANT_S))
    # exp(-25) of the response remains after 25 time constants: below what interpolation resolves.
    taps = np.arange(min(samples.size, math.ceil(25 * P56_TIME_CONSTANT_S * sample_rate_hz)))
    response = (1 - g) ** 2 * (taps + 1) * g**taps
    size = 1 << (samples.size + taps.size - 2).bit_length() if samples.size > 1 else 1
    spectrum = np.fft.rfft(np.abs(samples), size) * np.fft.rfft(response, size)
    envelope: np.ndarray = np.fft.irfft(spectrum, size)[: samples.size]
    return envelope if size > 1 else np.abs(samples) * response


def _active_samples(above: np.ndarray, hangover: int) -> int:
    """Samples at or after a True, up to ``hangover`` samples after the last one."""
    where = np.flatnonzero(above)
    gaps = np.diff(where, append=above.size)
    return int(np.minimum(gaps, hangover + 1).sum())


def noise_gain_for(speech_power: float, noise_power: float, snr_db: float) -> float:
    """Factor on the noise's samples that gives the SNR in dB between the two powers."""
    return math.sqrt(speech_power / noise_power) * 10 ** (-snr_db / 20)


def mix_at_snr(
    speech: np.ndarray,
    noise: np.ndarray | None,
    snr_db: float | None,
    *,
    level: Level = "utterance",
    speech_levels: SpeechLevels | None = None,
) -> Mixture:
    """Add noise to speech at a signal-to-noise ratio; the speech stays untouched.

    Args:
        speech: float (S,), full scale 1.
        noise: float (S,), the segment to add, at any level; may be ``None`` for clean only.
        snr_db: in dB; ``None`` is clean, 0 is 0 dB.
        level: which power of the speech the SNR refers to.
        speech_levels: :func:`measure_speech` of this speech, to measure once for many mixtures.

    Raises:
        ValueError: an SNR that is not a finite number, another length of noise than of speech,
            silent speech or noise, NaN or infinite samples, an unknown ``level``.
    """
    snr_db, level = check_snr(snr_db), check_level(level)
    clean = _checked(speech, "speech")
    levels = speech_levels or measure_speech(clean)
    if snr_db is None:
        peak = float(np.abs(clean).max())
        return Mixture(clean, 0.0, None, level, None, None, peak, peak > 1)
    if noise is None:
        raise ValueError(f"no noise to mix at {snr_db:g} dB; give samples, or snr_db=None")
    added = _checked(noise, "noise")
    if added.shape != clean.shape:
        raise ValueError(
            f"noise has {added.size} samples but speech has {clean.size}; "
            "cut or extend it with avsr.noise.fit_length"
        )
    gain = noise_gain_for(levels.of(level), _audible_power(added, "noise"), snr_db)
    return mix_with_gain(clean, added, gain, snr_db, level=level, speech_levels=levels)


def mix_with_gain(
    speech: np.ndarray,
    noise: np.ndarray,
    gain: float,
    snr_db: float | None,
    *,
    level: Level,
    speech_levels: SpeechLevels,
) -> Mixture:
    """Speech plus ``gain`` times the noise, whatever level that gives; it is measured.

    Args:
        speech: float (S,).
        noise: float (S,), audible.
        gain: factor on the noise, above 0.
        snr_db: what was asked for; it stands in the record and changes nothing.
        level: stands in the record.
        speech_levels: :func:`measure_speech` of the speech.
    """
    clean, levels = np.asarray(speech, dtype=np.float64), speech_levels
    waveform = clean + gain * np.asarray(noise, dtype=np.float64)
    residual_power = signal_power(waveform - clean)
    peak = float(np.abs(waveform).max())
    return Mixture(
        waveform=waveform,
        noise_gain=gain,
        snr_db=snr_db,
        level=level,
        achieved_snr_db_utterance=10 * math.log10(levels.power / residual_power),
        achieved_snr_db_active_speech=10 * math.log10(levels.active_power / residual_power),
        peak=peak,
        would_clip=peak > 1,
    )


def to_int16(waveform: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples for a 16-bit file, and the factor by which the whole mixture was scaled.

    Speech and noise are scaled together, and only where the peak would clip: the SNR stays, the
    level does not, so the factor belongs in the record.

    Returns:
        int16 (S,) and a factor in (0, 1]; 1.0 means unchanged.

    Raises:
        ValueError: empty, not one-dimensional or not finite samples.
    """
    samples = _checked(waveform, "waveform")
    highest = float(np.abs(samples).max()) * 32768
    factor = 1.0 if highest <= 32767 else 32767 / highest
    return np.rint(samples * (factor * 32768)).astype(np.int16), factor


def stable_hash(*parts: object) -> int:
    """The first 16 bytes of SHA-256 over the parts' text: the same in every process and order."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def offset_for(utterance_id: str, noise_type: str, seed: int, noise_length: int) -> int:
    """Where the noise starts for an utterance: in [0, noise_length), the same at every SNR.

    Raises:
        ValueError: ``noise_length`` below 1.
    """
    if noise_length < 1:
        raise ValueError(f"noise length {noise_length} has no offset; give 1 sample or more")
    return stable_hash(utterance_id, noise_type, seed) % noise_length


def _fades(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Equal-power fade in and fade out: squares add to 1, right for unrelated signals."""
    angle = (np.arange(length) + 0.5) / max(length, 1) * (math.pi / 2)
    return np.sin(angle), np.cos(angle)


def fit_length(
    noise: np.ndarray, num_samples: int, offset: int = 0, crossfade: int = CROSSFADE_SAMPLES
) -> np.ndarray:
    """``num_samples`` of the noise from ``offset`` on; past its end it goes on from its start.

    The seam is an equal-power cross-fade of ``crossfade`` samples (half the noise at most), so
    that nothing is looped hard. Within the noise it is a plain slice.

    Args:
        noise: float (N,), N at least 1.
        num_samples: length of the result, at least 1.
        offset: first sample, in [0, N).

    Returns:
        float64 (num_samples,).

    Raises:
        ValueError: empty noise, a length below 1, or an offset outside the noise.
    """
    samples = np.asarray(noise, dtype=np.float64)
    if samples.ndim != 1 or samples.size == 0 or num_samples < 1 or crossfade < 0:
        raise ValueError(
            f"cannot take {num_samples} samples of noise of shape {samples.shape} with a "
            f"cross-fade of {crossfade}; all must be positive and the noise mono"
        )
    if not 0 <= offset < samples.size:
        raise ValueError(f"offset {offset} is outside the noise of {samples.size} samples")
    if offset + num_samples <= samples.size:
        return samples[offset : offset + num_samples].copy()
    overlap = min(crossfade, samples.size // 2)
    period = samples.size - overlap
    fade_in, fade_out = _fades(overlap)
    cycle = samples[:period].copy()
    cycle[:overlap] = samples[:overlap] * fade_in + samples[period:] * fade_out
    # The first pass starts in the untouched noise: only what follows the seam is blended.
    first = samples[offset:period]
    rest = np.resize(cycle, max(0, num_samples - first.size))
    if offset >= period:  # starts inside the seam
        rest = np.resize(np.roll(cycle, period - offset), num_samples)
    return np.concatenate([first, rest])[:num_samples]


def join(waveforms: Sequence[np.ndarray], crossfade: int = CROSSFADE_SAMPLES) -> np.ndarray:
    """Recordings one after the other, each pair cross-faded with equal power; float64.

    Raises:
        ValueError: nothing to join.
    """
    if not waveforms:
        raise ValueError("no waveform to join; give at least one")
    joined = [np.asarray(waveforms[0], dtype=np.float64)]
    for waveform in waveforms[1:]:
        last, following = joined[-1], np.asarray(waveform, dtype=np.float64)
        overlap = min(crossfade, last.size // 2, following.size // 2)
        fade_in, fade_out = _fades(overlap)
        seam = last[last.size - overlap :] * fade_out + following[:overlap] * fade_in
        joined[-1:] = [last[: last.size - overlap], seam, following[overlap:]]
    return np.concatenate(joined)


def white_noise(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian white noise, float64 (num_samples,), expected RMS 1."""
    return generator.standard_normal(num_samples)


def pink_noise(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise with power density exactly proportional to 1/f, no DC, RMS 1, float64."""
    frequency = np.fft.rfftfreq(num_samples)
    frequency[0] = np.inf
    return _shaped(num_samples, 1 / np.sqrt(frequency), generator)


def speech_shaped_noise(
    num_samples: int, spectrum: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Gaussian noise with a long-term average spectrum, no DC, RMS 1, float64 (num_samples,).

    Args:
        spectrum: float (F,), F at least 2: power density at F equally spaced frequencies from 0 to
            half the sample rate, as :func:`long_term_spectrum` gives it; linear interpolation.

    Raises:
        ValueError: a spectrum that is not one-dimensional, negative, not finite or all zero.
    """
    power = np.asarray(spectrum, dtype=np.float64)
    usable = power.ndim == 1 and power.size >= 2 and np.isfinite(power).all()
    if not usable or (power < 0).any() or not power[1:].any():
        raise ValueError(
            f"spectrum of shape {power.shape} is not a power density (F,) with F at least 2, "
            "finite, not negative and not all zero; make it with long_term_spectrum"
        )
    frequency = np.fft.rfftfreq(num_samples) * 2 * (power.size - 1)
    shape = np.sqrt(np.interp(frequency, np.arange(power.size), power))
    shape[0] = 0
    return _shaped(num_samples, shape, generator)


def _shaped(num_samples: int, amplitude: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    white = np.fft.rfft(generator.standard_normal(num_samples))
    noise: np.ndarray = np.fft.irfft(white * amplitude, num_samples)
    rms = math.sqrt(float(np.mean(noise**2)))
    return noise / rms if rms > 0 else noise


def long_term_spectrum(waveforms: Iterable[np.ndarray], window: int = 512) -> np.ndarray:
    """Long-term average power spectrum of recordings (Welch: Hann window, half overlap).

    Args:
        waveforms: float (S,) each; those shorter than the window are padded with zeros.
        window: even number of samples.

    Returns:
        float64 (window // 2 + 1,), mean over all frames of |FFT|^2, scaled to sum 1.

    Raises:
        ValueError: no recording, or only silence.
    """
    total, frames = np.zeros(window // 2 + 1), 0
    hann = np.hanning(window + 1)[:-1]
    for waveform in waveforms:
        samples = _checked(waveform, "waveform")
        samples = np.pad(samples - samples.mean(), (0, max(0, window - samples.size)))
        views = np.lib.stride_tricks.sliding_window_view(samples, window)[:: window // 2]
        total += (np.abs(np.fft.rfft(views * hann, axis=1)) ** 2).sum(axis=0)
        frames += len(views)
    if frames == 0 or not total.any():
        raise ValueError(f"no spectrum from {frames} frames of sound; give recordings of speech")
    spectrum: np.ndarray = total / total.sum()
    return spectrum


def babble(
    talkers: Sequence[np.ndarray],
    num_samples: int,
    offsets: Sequence[int],
    *,
    levels: Sequence[SpeechLevels] | None = None,
    crossfade: int = CROSSFADE_SAMPLES,
) -> np.ndarray:
    """Several people talking at once, each at the same active speech level (P.56).

    Args:
        talkers: float (N_k,) one recording for each talker; too short ones go on cross-faded.
        num_samples: length of the result.
        offsets: first sample for each talker, in [0, N_k).
        levels: :func:`measure_speech` of each talker, where they are known.

    Returns:
        float64 (num_samples,), the sum over talkers of active RMS 1, divided by their square root.

    Raises:
        ValueError: no talker, another number of offsets, or a silent recording.
    """
    if not talkers or len(offsets) != len(talkers):
        raise ValueError(
            f"{len(talkers)} talkers with {len(offsets)} offsets; give one offset for each of at "
            "least one talker"
        )
    known = levels if levels is not None else [measure_speech(talker) for talker in talkers]
    total = np.zeros(num_samples)
    for talker, offset, level in zip(talkers, offsets, known, strict=True):
        part = fit_length(talker, num_samples, offset, crossfade)
        total += (part - part.mean()) / math.sqrt(level.active_power)
    return total / math.sqrt(len(talkers))
