"""The published protocols by name, and that each of their faults does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.data.mixtures import MixtureManifest, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseConfig, NoiseSplit
from avsr.data.published_protocols import FAULTS, PUBLISHED, bank_of, published
from avsr.files import write_wav
from avsr.noise import signal_power

LEVELS = (-5.0, 0.0, 5.0, None)


@pytest.fixture
def noise(tmp_path) -> NoiseConfig:
    generator = np.random.default_rng(5)
    # Half a second, with a mean that power must not count.
    write_wav(tmp_path / "hum.wav", 0.1 * generator.standard_normal(8000) + 0.1)
    return NoiseConfig(tmp_path, test=NoiseSplit(types=("hum",), recorded=("hum.wav",)))


def speech() -> np.ndarray:
    return 0.2 * np.random.default_rng(1).standard_normal(16000)


def built(noise: NoiseConfig, *faults: str, utterances: int = 1) -> MixtureManifest:
    return build_mixture_manifest(
        [(f"u{number}", speech()) for number in range(utterances)],
        bank_of(noise, "test", faults),
        noise_types=["hum"],
        snrs_db=LEVELS,
        seeds=[0],
        faults=faults,
    )


def by_level(manifest: MixtureManifest) -> dict:
    return {row.snr_db: row for row in manifest.rows}


def test_every_preset_names_its_source_levels_and_known_faults():
    assert set(PUBLISHED) == {"av_hubert", "auto_avsr", "muavic"}
    for name, one in PUBLISHED.items():
        assert one.name == name and " at " in one.source or "arXiv" in one.source
        assert one.snrs_db and one.noises and set(one.faults) <= set(FAULTS) and one.not_offered
    with pytest.raises(ValueError, match="preset 'kaldi' is not one of av_hubert"):
        published("kaldi")


def test_without_faults_every_level_is_what_it_says(noise):
    for snr, row in by_level(built(noise)).items():
        if snr is not None:
            assert row.achieved_snr_db_utterance == pytest.approx(snr, abs=1e-4)
        assert row.faults == () and "faults" not in row.to_row()


def test_zero_db_that_is_clean_stands_in_the_row_as_no_level_at_all(noise):
    row = by_level(built(noise, "zero_db_is_clean"))[0.0]
    assert row.noise_gain == 0 and row.achieved_snr_db_utterance is None and row.snr_db == 0.0
    rendered = render_mixture(row, speech(), bank_of(noise, "test"))
    assert np.allclose(rendered, speech())


def test_zero_db_that_is_random_gives_other_levels_and_only_there(noise):
    rows = built(noise, "zero_db_is_random", utterances=40).rows
    found = {row.achieved_snr_db_utterance for row in rows if row.snr_db == 0.0}
    rounded = {None if one is None else round(one) for one in found}
    assert len(rounded) > 4 and rounded <= {-5, 0, 5, 10, 15, 20, None}
    for row in rows:
        if row.snr_db in (-5.0, 5.0):
            assert row.achieved_snr_db_utterance == pytest.approx(row.snr_db, abs=1e-4)


def test_a_counted_mean_makes_the_noise_too_weak(noise):
    row = by_level(built(noise, "dc_counted"))[5.0]
    # Mean and deviation of the hum are both 0.1: half of its counted power is no sound.
    assert row.achieved_snr_db_utterance == pytest.approx(5 + 10 * np.log10(2), abs=0.5)


def test_unpaired_draws_give_every_level_its_own_noise(noise):
    paired, unpaired = by_level(built(noise)), by_level(built(noise, "unpaired_draws"))
    assert paired[-5.0].noise_files == paired[5.0].noise_files
    assert unpaired[-5.0].noise_files != unpaired[5.0].noise_files


def test_noise_from_its_start_is_the_same_for_all(noise):
    rows = built(noise, "noise_from_its_start", utterances=5).rows
    assert {use.offset for row in rows for use in row.noise_files} == {0}


def test_a_hard_loop_has_no_cross_fade(noise):
    faults = ("hard_loop", "noise_from_its_start")
    bank = bank_of(noise, "test", faults)
    looped, _ = bank.segment("hum", "u0", 0, 16000)
    assert np.array_equal(looped[:8000], looped[8000:])
    faded, _ = bank_of(noise, "test", ("noise_from_its_start",)).segment("hum", "u0", 0, 16000)
    assert not np.array_equal(faded[:8000], faded[8000:])


def test_a_peak_that_is_rescaled_is_logged_and_cut_to_steps(noise):
    loud = 3 * speech()
    bank = bank_of(noise, "test", ("peak_rescale",))
    options = {"noise_types": ["hum"], "snrs_db": [-5.0], "seeds": [0]}
    (row,) = build_mixture_manifest([("u", loud)], bank, faults=("peak_rescale",), **options).rows
    rendered = render_mixture(row, loud, bank).astype(np.float64)
    assert row.clipped and 0 < row.scale < 1
    assert np.abs(rendered).max() <= 1 and np.array_equal(
        rendered * 32768, np.rint(rendered * 32768)
    )
    (plain,) = build_mixture_manifest([("u", loud)], bank_of(noise, "test"), **options).rows
    whole = render_mixture(plain, loud, bank_of(noise, "test"))
    assert np.abs(rendered - row.scale * whole).max() <= 1 / 32768
    assert signal_power(whole) > signal_power(rendered)


def test_faults_that_are_unknown_repeated_or_at_odds_are_refused(noise):
    for faults, message in (
        (("echo",), "unknown"),
        (("dc_counted", "dc_counted"), "repeat"),
        (("zero_db_is_clean", "zero_db_is_random"), "both clean and random"),
    ):
        with pytest.raises(ValueError, match=message):
            built(noise, *faults)
    with pytest.raises(ValueError, match="make it with bank_of"):
        build_mixture_manifest(
            [("u", speech())],
            bank_of(noise, "test"),
            noise_types=["hum"],
            faults=("hard_loop",),
        )
