from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from avsr import noise
from avsr.files import read_audio

RATE = 16_000


def speech_like(seconds: float = 2.0, seed: int = 0, active: float = 0.5) -> np.ndarray:
    """Noise bursts of 0.4 s with pauses, as float32."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * RATE)) * 0.1
    period = round(0.8 * RATE)
    on = np.arange(samples.size) % period < active * period
    return (samples * on).astype(np.float32)


def p56_by_the_book(samples: np.ndarray) -> float:
    """ITU-T P.56 method B, sample by sample, thresholds 2^-1 .. 2^-15: active level in dB."""
    samples = samples.astype(np.float64) - samples.astype(np.float64).mean()
    g = math.exp(-1 / (RATE * 0.03))
    hangover = math.ceil(0.2 * RATE)
    thresholds = [2.0**-j for j in range(1, 16)]
    active, since = [0] * 15, [hangover] * 15
    p = q = 0.0
    for value in samples:
        p = g * p + (1 - g) * abs(value)
        q = g * q + (1 - g) * p
        for j, threshold in enumerate(thresholds):
            if q >= threshold:
                active[j], since[j] = active[j] + 1, 0
            elif since[j] < hangover:
                active[j], since[j] = active[j] + 1, since[j] + 1
    energy = float((samples**2).sum())
    previous = None
    for threshold, count in zip(reversed(thresholds), reversed(active), strict=True):
        level = 10 * math.log10(energy / count)
        excess = level - 20 * math.log10(threshold) - 15.9
        if excess < 0 and previous is not None:
            return level + excess / (excess - previous[1]) * (previous[0] - level)
        previous = (level, excess)
    raise AssertionError("no threshold within the margin")


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.003])
def test_active_level_is_that_of_the_recommendation(scale: float) -> None:
    speech = speech_like(1.6) * scale
    expected = p56_by_the_book(speech)
    levels = noise.measure_speech(speech)
    assert 10 * math.log10(levels.active_power) == pytest.approx(expected, abs=1e-6)
    assert levels.power == pytest.approx(float(np.var(speech.astype(np.float64))))


def test_pauses_lower_the_mean_power_and_not_the_active_level() -> None:
    burst = speech_like(4.0, active=1.0)
    padded = np.concatenate([burst, np.zeros(12 * RATE, np.float32)])
    alone, with_pause = noise.measure_speech(burst), noise.measure_speech(padded)
    assert alone.power / with_pause.power == pytest.approx(4, rel=0.01)
    assert with_pause.active_power == pytest.approx(alone.active_power, rel=0.1)
    assert with_pause.activity == pytest.approx(0.25, abs=0.02)
    assert alone.activity == pytest.approx(1.0, abs=0.02)


def test_very_quiet_speech_is_measured_like_loud_speech() -> None:
    speech = speech_like().astype(np.float64)
    loud, quiet = noise.measure_speech(speech), noise.measure_speech(speech * 2.0**-16)
    assert quiet.activity == pytest.approx(loud.activity, rel=1e-9)


def test_a_click_counts_whole() -> None:
    click = np.zeros(RATE)
    click[-3] = 1.0  # at the end, where few samples are left to count as active
    levels = noise.measure_speech(click)
    assert levels.activity == 1 and levels.active_power == levels.power


@pytest.mark.parametrize("length", [1, 2, 3, 100])
def test_tiny_signals_have_levels_or_a_reason(length: int) -> None:
    samples = np.zeros(length)
    samples[0] = 0.5
    if length == 1:  # its mean is itself
        with pytest.raises(ValueError, match="silent"):
            noise.measure_speech(samples)
    else:
        levels = noise.measure_speech(samples)
        assert levels.active_power > 0 and 0 < levels.activity <= 1


@pytest.mark.parametrize("level", noise.LEVELS)
@pytest.mark.parametrize("snr_db", [-10, -5, -2.5, 0, 0.0, 2.5, 10, np.float32(5)])
def test_mixture_has_the_level_asked(snr_db: float, level: noise.Level) -> None:
    speech, added = speech_like(), speech_like(seed=1, active=1.0) + np.float32(0.3)
    mixture = noise.mix_at_snr(speech, added, snr_db, level=level)
    residual = mixture.waveform - speech.astype(np.float64)
    measured = noise.measure_speech(speech).of(level) / residual.var()
    assert 10 * math.log10(measured) == pytest.approx(float(snr_db), abs=1e-6)
    achieved = {
        "utterance": mixture.achieved_snr_db_utterance,
        "active_speech": mixture.achieved_snr_db_active_speech,
    }
    assert achieved[level] == pytest.approx(float(snr_db), abs=1e-6)
    assert mixture.waveform.dtype == np.float64


def test_zero_db_is_zero_db_every_time() -> None:
    speech, added = speech_like(), speech_like(seed=1)
    first, second = (noise.mix_at_snr(speech, added, 0) for _ in range(2))
    np.testing.assert_array_equal(first.waveform, second.waveform)
    assert first.snr_db == 0 and first.snr_db is not None
    assert first.achieved_snr_db_utterance == pytest.approx(0, abs=1e-9)


def test_none_is_clean() -> None:
    speech = speech_like()
    mixture = noise.mix_at_snr(speech, None, None)
    np.testing.assert_array_equal(mixture.waveform, speech.astype(np.float64))
    assert mixture.snr_db is None and mixture.achieved_snr_db_utterance is None
    assert mixture.noise_gain == 0


def test_the_two_definitions_differ_by_the_activity() -> None:
    speech, added = speech_like(active=0.3), speech_like(seed=1)
    mixture = noise.mix_at_snr(speech, added, -5)
    levels = noise.measure_speech(speech)
    assert mixture.achieved_snr_db_utterance is not None
    assert mixture.achieved_snr_db_active_speech is not None
    difference = mixture.achieved_snr_db_active_speech - mixture.achieved_snr_db_utterance
    assert difference == pytest.approx(-10 * math.log10(levels.activity))
    assert difference > 0.5


def test_loud_mixtures_keep_their_level_and_say_that_they_clip() -> None:
    speech, added = speech_like() * 4, speech_like(seed=1)
    mixture = noise.mix_at_snr(speech, added, -10)
    assert mixture.would_clip and mixture.peak > 1
    assert mixture.peak == np.abs(mixture.waveform).max()
    np.testing.assert_allclose(mixture.waveform, speech + mixture.noise_gain * added, atol=1e-6)
    assert not noise.mix_at_snr(speech / 100, added, 10).would_clip


@pytest.mark.parametrize(
    "snr_db", [float("nan"), float("inf"), -float("inf"), True, False, "0", "clean", [0], 999999]
)
def test_an_snr_that_is_no_number_is_refused(snr_db: object) -> None:
    with pytest.raises(ValueError, match=r"not a number of dB.*None for clean"):
        noise.mix_at_snr(speech_like(), speech_like(seed=1), snr_db)  # type: ignore[arg-type]


@pytest.mark.parametrize("constant", [0.0, 0.25])
def test_silence_is_refused_even_with_dc(constant: float) -> None:
    silence = np.full(2 * RATE, constant, np.float32)
    with pytest.raises(ValueError, match="noise is silent"):
        noise.mix_at_snr(speech_like(), silence, 0)
    with pytest.raises(ValueError, match="speech is silent"):
        noise.mix_at_snr(silence, speech_like(), 0)


def test_other_unusable_signals_are_refused() -> None:
    speech = speech_like()
    broken = speech.copy()
    broken[7] = np.nan
    for bad, message in [
        (speech[:-1], "31999 samples but speech has 32000.*fit_length"),
        (broken, "noise has 1 NaN.*at 7"),
        (np.stack([speech, speech]), "mono"),
        (np.zeros(0, np.float32), "at least 1"),
        ((speech * 32767).astype(np.int16), "float samples"),
        (None, "no noise"),
    ]:
        with pytest.raises(ValueError, match=message):
            noise.mix_at_snr(speech, bad, 0)
    with pytest.raises(ValueError, match="speech has 1 NaN"):
        noise.mix_at_snr(broken, speech, 0)
    with pytest.raises(ValueError, match="utterance, active_speech"):
        noise.mix_at_snr(speech, speech, 0, level="loudness")  # type: ignore[arg-type]


def test_int16_scales_everything_together_and_tells() -> None:
    mixture = noise.mix_at_snr(speech_like() * 3, speech_like(seed=1), -10)
    samples, factor = noise.to_int16(mixture.waveform)
    assert samples.dtype == np.int16 and 0 < factor < 1
    assert np.abs(samples.astype(int)).max() == 32767
    np.testing.assert_allclose(samples / 32768, mixture.waveform * factor, atol=0.51 / 32768)
    quiet, unchanged = noise.to_int16(np.array([0.5, -0.25]))
    assert unchanged == 1.0
    np.testing.assert_array_equal(quiet, [16384, -8192])


def slope_db_per_octave(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(samples.size, 1 / RATE)
    edges = 125 * 2.0 ** np.arange(7)
    bands = [
        10 * math.log10(power[(frequency >= low) & (frequency < 2 * low)].mean())
        for low in edges[:-1]
    ]
    return float(np.polyfit(np.arange(len(bands)), bands, 1)[0])


def test_white_is_flat_and_pink_falls_by_three_db_an_octave() -> None:
    generator = np.random.default_rng(0)
    white = noise.white_noise(20 * RATE, generator)
    pink = noise.pink_noise(20 * RATE, generator)
    assert white.std() == pytest.approx(1, abs=0.01)
    assert slope_db_per_octave(white) == pytest.approx(0, abs=0.2)
    assert slope_db_per_octave(pink) == pytest.approx(-10 * math.log10(2), abs=0.2)
    assert pink.std() == pytest.approx(1) and abs(pink.mean()) < 1e-12


def test_computed_noise_follows_its_generator() -> None:
    for make in (noise.white_noise, noise.pink_noise):
        first, again, other = (make(1000, np.random.default_rng(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 0.1


def test_speech_shaped_noise_has_the_spectrum_of_the_speech() -> None:
    generator = np.random.default_rng(0)
    coloured = np.convolve(generator.standard_normal(8 * RATE), [1, 0.9, 0.5, 0.1], "same")
    spectrum = noise.long_term_spectrum([coloured[: 4 * RATE], coloured[4 * RATE :]])
    shaped = noise.speech_shaped_noise(8 * RATE, spectrum, generator)
    again = noise.long_term_spectrum([shaped])
    ratio_db = 10 * np.log10(again[2:] / spectrum[2:])
    assert spectrum.sum() == pytest.approx(1) and shaped.std() == pytest.approx(1)
    assert np.abs(ratio_db).max() < 2 and abs(ratio_db.mean()) < 0.2


def test_a_spectrum_that_is_none_is_refused() -> None:
    generator = np.random.default_rng(0)
    for spectrum in (np.zeros(5), np.ones((2, 2)), np.array([1.0]), np.array([1.0, -1.0])):
        with pytest.raises(ValueError, match="power density"):
            noise.speech_shaped_noise(100, spectrum, generator)
    with pytest.raises(ValueError, match="no spectrum"):
        noise.long_term_spectrum([np.zeros(1000)])


def test_fit_length_is_a_slice_where_the_noise_is_long_enough() -> None:
    long = np.arange(100.0)
    np.testing.assert_array_equal(noise.fit_length(long, 10, 90), long[90:])


@pytest.mark.parametrize("offset", [0, 700, 950, 999])
def test_short_noise_goes_on_without_a_jump(offset: int) -> None:
    time = np.arange(1000)
    ramp = np.sin(time / 1000 * math.pi / 2)  # ends at 1, begins at 0: a hard loop would jump by 1
    fitted = noise.fit_length(ramp, 5000, offset, crossfade=200)
    assert fitted.size == 5000
    assert np.abs(np.diff(fitted)).max() < 0.02
    until_the_seam = max(0, 800 - offset)
    np.testing.assert_array_equal(fitted[:until_the_seam], ramp[offset : offset + until_the_seam])


def test_the_seam_keeps_the_power() -> None:
    white = np.random.default_rng(0).standard_normal(RATE)
    fitted = noise.fit_length(white, 10 * RATE, 100, crossfade=4000)
    parts = fitted.reshape(40, -1).std(axis=1)
    assert parts.min() > 0.93 and parts.max() < 1.07


def test_fit_length_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="outside the noise"):
        noise.fit_length(np.ones(5), 3, 5)
    with pytest.raises(ValueError, match="cannot take 0"):
        noise.fit_length(np.ones(5), 0)
    with pytest.raises(ValueError, match="cannot take 3"):
        noise.fit_length(np.ones(0), 3)
    assert noise.fit_length(np.ones(1), 3).tolist() == [1, 1, 1]


def test_offset_is_written_in_stone() -> None:
    # Published manifests depend on this number.
    expected = noise.stable_hash("s1/bbaf3s", "babble_8", 0) % 1000
    assert noise.offset_for("s1/bbaf3s", "babble_8", 0, 1000) == expected == 816
    assert noise.offset_for("s1/bbaf3s", "babble_8", 1, 1000) != expected
    with pytest.raises(ValueError, match="1 sample or more"):
        noise.offset_for("u", "white", 0, 0)


def test_offsets_spread_over_the_noise() -> None:
    offsets = [noise.offset_for(f"u{i}", "rain", 0, 1000) for i in range(2000)]
    counts = np.bincount(np.array(offsets) // 100, minlength=10)
    assert counts.min() > 150 and counts.max() < 250


def test_join_cross_fades_and_shortens_by_the_overlaps() -> None:
    joined = noise.join([np.ones(1000), np.ones(500), np.ones(500)], crossfade=100)
    assert joined.size == 2000 - 200
    assert joined.min() >= 1 - 1e-12 and joined.max() <= math.sqrt(2) + 1e-12
    with pytest.raises(ValueError, match="at least one"):
        noise.join([])


def test_babble_gives_each_talker_the_same_active_level() -> None:
    loud, quiet = speech_like(seed=0), speech_like(seed=1) * 0.01
    generator = np.random.default_rng(0)
    offsets = [int(generator.integers(loud.size)) for _ in range(2)]
    both = noise.babble([loud, quiet], 3 * RATE, offsets)
    alone = [noise.babble([t], 3 * RATE, [o]) for t, o in zip([loud, quiet], offsets, strict=True)]
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / math.sqrt(2), atol=1e-12)
    assert alone[0].std() == pytest.approx(alone[1].std(), rel=0.1)
    with pytest.raises(ValueError, match="one offset for each"):
        noise.babble([loud], 100, [])


def test_more_talkers_fill_the_gaps() -> None:
    def crest(talkers: int) -> float:
        voices = [speech_like(seed=i) for i in range(talkers)]
        mixed = noise.babble(voices, 2 * RATE, [1000 * i for i in range(talkers)])
        frames = (mixed**2).reshape(-1, 400).mean(axis=1)
        return float(frames.max() / frames.mean())

    assert crest(1) > crest(8) > crest(30)


@pytest.mark.real_data
def test_active_level_of_real_speech_is_the_books(avsr_data: Path) -> None:
    speech = read_audio(avsr_data / "grid" / "s1" / "video" / "bbaf3s.mp4")
    levels = noise.measure_speech(speech)
    assert 10 * math.log10(levels.active_power) == pytest.approx(p56_by_the_book(speech), abs=1e-6)
    assert 0.3 < levels.activity < 0.7
