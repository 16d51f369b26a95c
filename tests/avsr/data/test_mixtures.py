from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avsr import noise
from avsr.data import mixtures
from avsr.data.mixtures import MixtureRow, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import (
    NoiseBank,
    NoiseConfig,
    NoiseSplit,
    TalkerFile,
    check_disjoint,
    is_ill_posed,
    recorded_under,
    split_talkers,
    talkers_in,
)
from avsr.data.random_mixtures import random_mixture
from avsr.files import write_wav

RATE = 16_000


def sound(seed: int, seconds: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(round(seconds * RATE)) * 0.05).astype(np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    for speaker in range(12):
        for take in range(2):
            path = folder / "voices" / f"p{speaker:02d}_{take}.wav"
            write_wav(path, sound(100 + 2 * speaker + take, 1.0))
    for index, name in enumerate(("rain", "city", "coffee-shop")):
        write_wav(folder / "ambience" / f"{name}.wav", sound(index, 4.0))
    return folder


def pool(root: Path) -> list[tuple[Path, str]]:
    return [(path, path.stem[:3]) for path in sorted((root / "voices").iterdir())]


@pytest.fixture(scope="module")
def config(root: Path) -> NoiseConfig:
    train, valid, test = split_talkers(pool(root), root, (5, 3, 4))
    ambience = recorded_under(root / "ambience", root)
    return NoiseConfig(
        root,
        NoiseSplit(("white", "babble_2", "speech_shaped", "rain"), (ambience["rain"],), train),
        NoiseSplit(("white", "city"), (ambience["city"],), valid),
        NoiseSplit(
            ("white", "pink", "speech_shaped", "babble_4", "one_talker", "coffee-shop"),
            (ambience["coffee-shop"],),
            test,
        ),
        speech_spectrum=tuple(noise.long_term_spectrum([sound(0, 1)])),
    )


def utterances(count: int = 4) -> list[tuple[str, np.ndarray]]:
    return [(f"u{index}", sound(900 + index, 0.5 + 0.1 * index)) for index in range(count)]


def test_splits_share_no_speaker_and_no_file(config: NoiseConfig) -> None:
    check_disjoint(config)
    speakers = [{talker.speaker for talker in config.of(s).talkers} for s in ("train", "valid")]
    assert len(speakers[0]) == 5 and len(speakers[1]) == 3
    assert not speakers[0] & speakers[1]


def test_talker_split_does_not_depend_on_the_pool_order(root: Path) -> None:
    expected = split_talkers(pool(root), root, (5, 3, 4))
    assert split_talkers(pool(root)[::-1], root, (5, 3, 4)) == expected
    with pytest.raises(ValueError, match="pool has 12"):
        split_talkers(pool(root), root, (10, 2, 1))
    with pytest.raises(ValueError, match="not under"):
        split_talkers([("/elsewhere/a.wav", "p")], root, (1, 0, 0))


@pytest.mark.parametrize("kind", ["file", "content", "speaker"])
def test_a_source_in_two_splits_is_refused(
    root: Path, config: NoiseConfig, tmp_path: Path, kind: str
) -> None:
    if kind == "speaker":
        first, second = config.train.talkers[:2]
        assert first.speaker == second.speaker
        shared = NoiseConfig(root, NoiseSplit(talkers=(first,)), test=NoiseSplit(talkers=(second,)))
    elif kind == "file":
        path = config.train.recorded
        shared = NoiseConfig(root, NoiseSplit(recorded=path), valid=NoiseSplit(recorded=path))
    else:
        for name in ("one.wav", "two.wav"):
            (tmp_path / name).write_bytes((root / config.train.recorded[0]).read_bytes())
        shared = NoiseConfig(
            tmp_path, NoiseSplit(recorded=("one.wav",)), test=NoiseSplit(recorded=("two.wav",))
        )
    with pytest.raises(ValueError, match=rf"more than one split: .*{kind} ") as refused:
        check_disjoint(shared)
    assert "in train" in str(refused.value)


def test_a_missing_noise_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.wav: no such noise file \(valid\)"):
        check_disjoint(NoiseConfig(tmp_path, valid=NoiseSplit(recorded=("gone.wav",))))
    with pytest.raises(ValueError, match="no recorded noise"):
        recorded_under(tmp_path / "nothing", tmp_path)


def test_noise_types_are_words_that_the_error_lists() -> None:
    assert [talkers_in(name) for name in ("babble_8", "one_talker", "white")] == [8, 1, 0]
    for wrong in ("babble", "babble_1", "babble_x", "babble_08"):
        with pytest.raises(ValueError, match="babble_8"):
            talkers_in(wrong)
    with pytest.raises(ValueError, match=r"'wite' is not one of white, pink.*rain"):
        NoiseSplit(("wite",), ("a/rain.wav",))
    with pytest.raises(ValueError, match="needs 2 recordings"):
        NoiseSplit(("babble_2",), (), (TalkerFile("a.wav", "p"),))
    with pytest.raises(ValueError, match="ambiguous"):
        NoiseSplit(recorded=("a/rain.wav", "b/rain.wav"))
    with pytest.raises(ValueError, match="ambiguous"):
        NoiseSplit(recorded=("a/white.wav",))
    with pytest.raises(ValueError, match="needs speech_spectrum"):
        NoiseConfig(Path(), NoiseSplit(("speech_shaped",)))


def test_manifest_rows_say_what_was_mixed(config: NoiseConfig) -> None:
    bank = NoiseBank(config, "test")
    manifest = build_mixture_manifest(
        utterances(), bank, noise_types=config.test.types, snrs_db=[-5, 0, None], seeds=[0, 1, 2]
    )
    assert len(manifest.rows) == 4 * (6 * 2 * 3 + 1)
    by_type: dict[str, list[MixtureRow]] = {}
    for row in manifest.rows:
        by_type.setdefault(row.noise_type, []).append(row)
        if row.snr_db is None:
            assert (row.noise_type, row.seed, row.noise_gain) == ("none", None, 0)
            assert row.achieved_snr_db_utterance is None and row.noise_files == ()
        else:
            assert row.achieved_snr_db_utterance == pytest.approx(row.snr_db, abs=0.01)
            assert row.noise_gain > 0
    assert {row.snr_db for row in by_type["white"]} == {-5.0, 0.0}
    assert all(row.matched_noise for row in by_type["white"])
    assert not any(row.matched_noise for row in by_type["coffee-shop"] + by_type["babble_4"])
    assert all(row.ill_posed for row in by_type["one_talker"])
    assert not any(row.ill_posed for row in by_type["babble_4"])
    assert all(len(row.noise_files) == 1 for row in by_type["coffee-shop"])
    for row in by_type["babble_4"]:
        speakers = {use.path.split("/")[1][:3] for use in row.noise_files}
        assert len(speakers) == 4
    assert {use.path for row in by_type["babble_4"] for use in row.noise_files} <= {
        talker.path for talker in config.test.talkers
    }


def test_one_talker_is_well_posed_above_zero_db() -> None:
    assert is_ill_posed("one_talker", 0.0) and not is_ill_posed("one_talker", 0.1)
    assert not is_ill_posed("one_talker", None) and not is_ill_posed("white", -10)


def test_every_row_renders_again_in_any_order(config: NoiseConfig) -> None:
    speech = dict(utterances(2))
    manifest = build_mixture_manifest(
        speech.items(),
        NoiseBank(config, "test"),
        noise_types=config.test.types,
        snrs_db=[-10, 0, None],
        seeds=[1],
        level="active_speech",
    )
    bank = NoiseBank(config, "test", cached_files=1)
    rendered = {}
    for row in manifest.rows[::-1]:
        rendered[row] = render_mixture(row, speech[row.utterance_id], bank)
        if row.snr_db is None:
            np.testing.assert_array_equal(rendered[row], speech[row.utterance_id])
    for row, waveform in rendered.items():
        assert waveform.dtype == np.float32 and len(waveform) == row.num_samples
        again = render_mixture(row, speech[row.utterance_id], NoiseBank(config, "test"))
        np.testing.assert_array_equal(waveform, again)
    assert len({waveform.tobytes() for waveform in rendered.values()}) == len(rendered)


def test_rendering_refuses_what_has_changed(config: NoiseConfig) -> None:
    name, speech = utterances()[0]
    bank = NoiseBank(config, "test")
    (row,) = build_mixture_manifest(
        [(name, speech)], bank, noise_types=["coffee-shop"], snrs_db=[0], seeds=[0]
    ).rows
    use = row.noise_files[0]
    for changed, waveform, message in [
        (row, speech[:-1], "samples"),
        (row, speech * np.float32(1.002), "has changed"),
        (dataclasses.replace(row, noise_gain=row.noise_gain * 1.002), speech, "has changed"),
        (
            dataclasses.replace(row, noise_files=(dataclasses.replace(use, sha256="0" * 64),)),
            speech,
            "hashes",
        ),
        (dataclasses.replace(row, seed=1), speech, "offsets differ"),
        (dataclasses.replace(row, noise_type="rain"), speech, "not in the test split"),
    ]:
        with pytest.raises(ValueError, match=message):
            render_mixture(changed, waveform, bank)
    render_mixture(row, speech * np.float32(1.0005), bank)  # 0.004 dB is within the tolerance


def test_manifest_is_the_same_in_another_process(config: NoiseConfig, tmp_path: Path) -> None:
    name, speech = utterances()[1]
    write_wav(tmp_path / "speech.wav", speech, subtype="FLOAT")
    program = (
        "import sys, json, numpy as np\n"
        "from pathlib import Path\n"
        "from avsr.data.mixtures import build_mixture_manifest\n"
        "from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit, TalkerFile\n"
        "from avsr.files import read_audio\n"
        "split = json.loads(sys.argv[2])\n"
        "talkers = tuple(TalkerFile(**talker) for talker in split['talkers'])\n"
        "part = NoiseSplit(('pink', 'babble_4'), (), talkers)\n"
        "bank = NoiseBank(NoiseConfig(Path(sys.argv[1]), test=part), 'test')\n"
        "pair = [('u1', read_audio(sys.argv[3]))]\n"
        "print(build_mixture_manifest(pair, bank, noise_types=['pink', 'babble_4']).sha256)\n"
    )
    split = json.dumps(dataclasses.asdict(config.test))
    finished = subprocess.run(
        [sys.executable, "-c", program, str(config.root), split, str(tmp_path / "speech.wav")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(mixtures.__file__).parents[2],
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
    )
    here = build_mixture_manifest(
        [(name, speech)],
        NoiseBank(dataclasses.replace(config, train=NoiseSplit()), "test"),
        noise_types=["babble_4", "pink"],
    )
    assert finished.stdout.strip() == here.sha256


def test_manifest_survives_the_disk(config: NoiseConfig, tmp_path: Path) -> None:
    bank = NoiseBank(config, "test")
    manifest = build_mixture_manifest(utterances(2), bank, noise_types=["babble_4"])
    mixtures.write_manifest(tmp_path / "m.jsonl", manifest)
    assert mixtures.read_manifest(tmp_path / "m.jsonl") == manifest
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert '"snr_db": null' in "".join(lines) and '"snr_db": 0.0' in "".join(lines)
    row = json.loads(lines[1])
    del row["seed"]
    (tmp_path / "m.jsonl").write_text(lines[0] + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"m\.jsonl: row 2: .*\['seed'\]"):
        mixtures.read_manifest(tmp_path / "m.jsonl")


def test_another_seed_makes_another_manifest(config: NoiseConfig) -> None:
    bank = NoiseBank(config, "test")
    levels: tuple[noise.Level, ...] = ("utterance", "active_speech")
    hashes = {
        build_mixture_manifest(
            utterances(1), bank, noise_types=["white"], snrs_db=[0.0], seeds=[seed], level=level
        ).sha256
        for seed in (0, 1)
        for level in levels
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_types": []}, "noise types"),
        ({"noise_types": ["white", "white"]}, "noise types"),
        ({"noise_types": ["rain"]}, "u0: noise type 'rain' is not in the test split"),
        ({"snrs_db": [0, 0.0]}, "SNRs"),
        ({"snrs_db": [float("nan")]}, "nan"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [True]}, "seeds"),
        ({"level": "loud"}, "level 'loud'"),
        ({"utterances": []}, "no utterance"),
        ({"utterances": utterances(1) * 2}, "u0 is given twice"),
        ({"utterances": [("hush", np.zeros(999, np.float32))]}, "hush: speech is silent"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    config: NoiseConfig, changes: dict[str, object], message: str
) -> None:
    arguments = {"utterances": utterances(1), "noise_types": ["white"], **changes}
    given = arguments.pop("utterances")
    with pytest.raises(ValueError, match=message):
        build_mixture_manifest(given, NoiseBank(config, "test"), **arguments)  # type: ignore[arg-type]


def test_a_silent_or_missing_noise_file_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "hush.wav", np.zeros(RATE, np.float32))
    config = NoiseConfig(tmp_path, test=NoiseSplit(("hush",), ("hush.wav",)))
    with pytest.raises(ValueError, match=r"hush\.wav: .*silent"):
        build_mixture_manifest(utterances(1), NoiseBank(config, "test"), noise_types=["hush"])
    config = NoiseConfig(tmp_path, test=NoiseSplit(("gone",), ("gone.wav",)))
    with pytest.raises(ValueError, match=r"gone\.wav"):
        build_mixture_manifest(utterances(1), NoiseBank(config, "test"), noise_types=["gone"])
    with pytest.raises(ValueError, match="train, valid, test"):
        NoiseBank(config, "dev")


def test_babble_of_more_voices_than_speakers_takes_other_files(root: Path) -> None:
    talkers = tuple(TalkerFile(f"voices/p0{i}_{k}.wav", f"p0{i}") for i in (0, 1) for k in (0, 1))
    bank = NoiseBank(NoiseConfig(root, test=NoiseSplit(("babble_4",), (), talkers)), "test")
    _, uses = bank.segment("babble_4", "u", 0, 1000)
    assert {use.path for use in uses} == {talker.path for talker in talkers}


def test_a_talker_goes_on_with_other_files_of_the_same_speaker(config: NoiseConfig) -> None:
    waveform, uses = NoiseBank(config, "test").segment("one_talker", "u", 0, 3 * RATE)
    assert waveform.size == 3 * RATE and noise.signal_power(waveform[-RATE:]) > 0
    assert len(uses) == 2 and len({use.path[:10] for use in uses}) == 1


def test_random_mixtures_follow_their_generator(config: NoiseConfig) -> None:
    speech = sound(5, 2.0)
    first, second = (
        [
            random_mixture(speech, bank, generator)
            for generator in [np.random.default_rng(3)]
            for _ in range(60)
        ]
        for bank in (NoiseBank(config, "train", pool_s=5), NoiseBank(config, "train", pool_s=5))
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.waveform, b.waveform)
        assert (a.noise_type, a.snr_db) == (b.noise_type, b.snr_db)
    noisy = [item for item in first if item.snr_db is not None]
    assert {item.noise_type for item in noisy} == set(config.train.types)
    assert 30 < len(noisy) < 58
    for item in noisy:
        residual = noise.signal_power(item.waveform.astype(np.float64) - speech)
        measured = 10 * np.log10(noise.signal_power(speech) / residual)
        assert measured == pytest.approx(item.snr_db, abs=0.01)
        assert item.snr_db is not None and -10 <= item.snr_db <= 20


def test_clean_probability_and_range_mean_what_they_say(config: NoiseConfig) -> None:
    bank, speech = NoiseBank(config, "train", pool_s=2), sound(5, 0.5)
    generator = np.random.default_rng(0)
    always = random_mixture(speech, bank, generator, clean_probability=1.0)
    np.testing.assert_array_equal(always.waveform, speech)
    assert always.snr_db is None and always.noise_type == "none"
    for _ in range(20):
        never = random_mixture(speech, bank, generator, (0, 0), clean_probability=0.0)
        assert never.snr_db == 0
    for wrong in ((5, -5), (0, float("nan"))):
        with pytest.raises(ValueError, match="SNR"):
            random_mixture(speech, bank, generator, wrong)
    with pytest.raises(ValueError, match="probability"):
        random_mixture(speech, bank, generator, clean_probability=1.5)
    with pytest.raises(ValueError, match="no noise type"):
        random_mixture(speech, NoiseBank(NoiseConfig(Path()), "train"), generator, (0, 0), 0.0)


def test_speech_longer_than_the_pool_gets_noise_all_along(config: NoiseConfig) -> None:
    bank, speech = NoiseBank(config, "train", pool_s=1), sound(5, 3.0)
    mixture = random_mixture(speech, bank, np.random.default_rng(0), clean_probability=0.0)
    residual = (mixture.waveform - speech).reshape(6, -1).std(axis=1)
    assert residual.min() > 0.2 * residual.max()


@pytest.mark.real_data
def test_real_sources_are_split_apart_and_rendered(avsr_data: Path) -> None:
    from avsr.corpora.speechocean762 import speechocean_pool
    from avsr.files import read_audio

    talkers = split_talkers(speechocean_pool(avsr_data / "speechocean762"), avsr_data, (27, 10, 30))
    ambience = recorded_under(avsr_data / "noise", avsr_data)
    config = NoiseConfig(
        avsr_data,
        NoiseSplit(("white", "babble_8", "rain"), (ambience["rain"],), talkers[0]),
        NoiseSplit(("babble_8", "boat"), (ambience["boat"],), talkers[1]),
        NoiseSplit(("babble_8", "coffee-shop"), (ambience["coffee-shop"],), talkers[2]),
    )
    check_disjoint(config)
    speech = read_audio(avsr_data / "grid" / "s1" / "video" / "bbaf3s.mp4")
    bank = NoiseBank(config, "test")
    rows = build_mixture_manifest(
        [("s1/bbaf3s", speech)], bank, noise_types=bank.types, seeds=(0, 1)
    ).rows
    assert len(rows) == 2 * 8 * 2 + 1
    for row in rows[::3]:
        render_mixture(row, speech, NoiseBank(config, "test"))
