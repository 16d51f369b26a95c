from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsr import noise
from avsr.data.mixtures import MixtureRow, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit, TalkerFile
from avsr.files import write_wav

snrs = st.one_of(st.sampled_from([0, 0.0, -5, -10.0]), st.floats(-40, 40))


def signal(seed: int, length: int, scale_db: float, dc: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    envelope = np.interp(np.arange(length), np.linspace(0, length, 9), generator.random(9) ** 2)
    return generator.standard_normal(length) * (envelope + 1e-3) * 10 ** (scale_db / 20) + dc


@settings(deadline=None)
@given(
    snr_db=snrs,
    level=st.sampled_from(noise.LEVELS),
    seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)),
    length=st.integers(200, 20_000),
    scales=st.tuples(st.floats(-60, 10), st.floats(-60, 10)),
    dc=st.floats(-0.5, 0.5),
)
def test_mix_then_measure_gives_the_snr_asked(
    snr_db: float,
    level: noise.Level,
    seeds: tuple[int, int],
    length: int,
    scales: tuple[float, float],
    dc: float,
) -> None:
    speech, added = (signal(seed, length, db, dc) for seed, db in zip(seeds, scales, strict=True))
    mixture = noise.mix_at_snr(speech, added, snr_db, level=level)
    power = noise.measure_speech(speech).of(level)
    measured = 10 * math.log10(power / np.var(mixture.waveform - speech))
    assert measured == pytest.approx(snr_db, abs=0.01)
    assert mixture.snr_db == snr_db


@settings(deadline=None)
@given(seed=st.integers(0, 999), octaves=st.integers(-12, 12), length=st.integers(1000, 20_000))
def test_levels_follow_the_gain(seed: int, octaves: int, length: int) -> None:
    # By powers of two, where the thresholds of P.56 stand; in between it has steps of its own.
    speech = signal(seed, length, -20, 0)
    before, after = noise.measure_speech(speech), noise.measure_speech(speech * 2.0**octaves)
    assert after.power / before.power == pytest.approx(4.0**octaves)
    assert after.active_power / before.active_power == pytest.approx(4.0**octaves)
    assert after.active_power >= after.power * (1 - 1e-9)


def test_a_burst_at_the_end_does_not_mislead_the_active_level() -> None:
    # Above the level where speech is active, few samples are left and the excess rises again.
    for seed in (263, 290, 377, 422, 490):
        speech = signal(seed, 16_000, -20, 0)
        levels = [noise.measure_speech(speech * 2 ** (k / 5)) for k in range(5)]
        activities = [level.activity for level in levels]
        assert max(activities) < 1.5 * min(activities)


@given(
    length=st.integers(1, 300),
    wanted=st.integers(1, 1000),
    crossfade=st.integers(0, 200),
    data=st.data(),
)
def test_fit_length_has_the_length_and_starts_at_the_offset(
    length: int, wanted: int, crossfade: int, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, length - 1))
    source = np.arange(1.0, length + 1)
    fitted = noise.fit_length(source, wanted, offset, crossfade)
    assert fitted.size == wanted
    assert np.abs(fitted).max() <= length * math.sqrt(2) + 1e-9
    if offset < length - min(crossfade, length // 2):
        assert fitted[0] == source[offset]


@given(st.text(), st.text(), st.integers(0, 2**31), st.integers(1, 10**9))
def test_offset_lies_in_the_noise(utterance_id: str, kind: str, seed: int, length: int) -> None:
    assert 0 <= noise.offset_for(utterance_id, kind, seed, length) < length


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> NoiseConfig:
    root = tmp_path_factory.mktemp("noise")
    for index in range(4):
        write_wav(root / f"talker{index}.wav", signal(index, 9000, -30, 0))
    write_wav(root / "rain.wav", signal(9, 30_000, -30, 0))
    talkers = tuple(TalkerFile(f"talker{i}.wav", f"p{i}") for i in range(4))
    types = ("white", "babble_3", "rain")
    return NoiseConfig(root, test=NoiseSplit(types, ("rain.wav",), talkers))


def utterances() -> list[tuple[str, np.ndarray]]:
    return [(f"u{i}", signal(50 + i, 4000 + 500 * i, -20, 0).astype(np.float32)) for i in range(5)]


@settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shuffle=st.randoms(use_true_random=False))
def test_the_manifest_does_not_depend_on_any_order(
    config: NoiseConfig, shuffle: random.Random
) -> None:
    kinds, levels, seeds = list(config.test.types), [-5.0, 0.0, 10.0, None], [0, 1]
    expected = build_mixture_manifest(
        utterances(), NoiseBank(config, "test"), noise_types=kinds, snrs_db=levels, seeds=seeds
    )
    speech = utterances()
    for values in (speech, kinds, levels, seeds):
        shuffle.shuffle(values)
    bank = NoiseBank(config, "test", cached_files=1)
    shuffled = build_mixture_manifest(speech, bank, noise_types=kinds, snrs_db=levels, seeds=seeds)
    assert shuffled == expected
    assert len(expected.rows) == 5 * (3 * 2 * 3 + 1)


def test_offsets_and_files_are_the_same_at_every_snr(config: NoiseConfig) -> None:
    bank = NoiseBank(config, "test")
    rows = build_mixture_manifest(utterances(), bank, noise_types=["babble_3", "rain"]).rows
    groups: dict[tuple[str, str, int | None], set[object]] = {}
    for row in rows:
        if row.snr_db is not None:
            groups.setdefault((row.utterance_id, row.noise_type, row.seed), set()).add(
                row.noise_files
            )
    assert len(groups) == 5 * 2 * 3
    assert all(len(files) == 1 for files in groups.values())
    assert len(set().union(*groups.values())) > len(groups) / 2


@settings(deadline=None, max_examples=20)
@given(
    snr_db=snrs, level=st.sampled_from(noise.LEVELS), kind=st.sampled_from(["white", "babble_3"])
)
def test_rendered_mixture_has_the_snr_asked(
    config: NoiseConfig, snr_db: float, level: noise.Level, kind: str
) -> None:
    bank = NoiseBank(config, "test")
    name, speech = utterances()[0]
    (row,) = build_mixture_manifest(
        [(name, speech)], bank, noise_types=[kind], snrs_db=[snr_db], seeds=[0], level=level
    ).rows
    again = MixtureRow.from_row(row.to_row())
    rendered = render_mixture(again, speech, NoiseBank(config, "test"))
    assert rendered.dtype == np.float32
    residual = rendered.astype(np.float64) - speech
    measured = noise.measure_speech(speech).of(level) / residual.var()
    assert 10 * math.log10(measured) == pytest.approx(snr_db, abs=0.01)
