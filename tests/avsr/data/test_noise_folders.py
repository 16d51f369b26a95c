from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.data.noise_bank import NoiseBank
from avsr.data.noise_folders import (
    check_apart_from_training,
    files_of_test,
    find_noise,
    noise_config,
)
from avsr.data.utterance_list import read_utterance_list
from avsr.files import write_wav


def sound(path: Path, seed: int = 0, samples: int = 4000) -> None:
    write_wav(path, 0.1 * np.random.default_rng(seed).standard_normal(samples))


def musan(root: Path, count: int = 20) -> Path:
    for kind, place in (
        ("music", "jamendo"),
        ("noise", "free-sound"),
        ("speech", "librivox"),
    ):
        for number in range(count):
            sound(root / "musan" / kind / place / f"{kind}-{number:04d}.wav", number)
        (root / "musan" / kind / place / "LICENSE").write_text("licence")
    return root / "musan"


def test_musan_is_many_files_a_type_and_its_parts_share_none(tmp_path):
    folder = musan(tmp_path)
    parts = {part: find_noise([folder], part) for part in ("train", "valid", "test", "all")}
    assert parts["test"].layouts == {"musan": "MUSAN"} and not parts["test"].passed_over
    for kind in ("musan_music", "musan_noise"):
        files = [set(parts[part].kinds[kind]) for part in ("train", "valid", "test")]
        assert all(files) and sum(map(len, files)) == 20 == len(set.union(*files))
        assert set(parts["all"].kinds[kind]) == set.union(*files)
    assert parts["test"].talkers[0].path.startswith("musan/speech/librivox/")


def test_a_pooled_type_draws_its_file_by_utterance_and_seed(tmp_path):
    config = noise_config(find_noise([musan(tmp_path)], "all"), ["musan_noise"])
    bank = NoiseBank(config, "test")
    uses = {bank.segment("musan_noise", f"u{n}", 0, 800)[1][0].path for n in range(30)}
    assert len(uses) > 5
    again = NoiseBank(config, "test").segment("musan_noise", "u3", 0, 800)
    assert np.array_equal(again[0], bank.segment("musan_noise", "u3", 0, 800)[0])


def test_noisex_demand_and_plain_recordings(tmp_path):
    for name in ("babble", "factory1", "volvo", "white", "leopard"):
        sound(tmp_path / "noisex92" / f"{name}.wav")
    for channel in ("ch01", "ch02"):
        sound(tmp_path / "demand" / "DKITCHEN" / f"{channel}.wav")
    sound(tmp_path / "mine" / "cafe.flac".replace("flac", "wav"))
    (tmp_path / "mine" / "cafe.mat").write_bytes(b"x")
    found = find_noise([tmp_path / name for name in ("noisex92", "demand", "mine")])
    assert found.layouts == {"noisex92": "NOISEX-92", "demand": "DEMAND", "mine": "recordings"}
    assert set(found.kinds) == {
        *("noisex_babble", "noisex_factory1", "noisex_volvo", "noisex_white", "noisex_leopard"),
        *("demand_DKITCHEN", "cafe"),
    }
    assert dict(found.passed_over) == {
        "demand/DKITCHEN/ch02.wav": "another channel of the same recording",
        "mine/cafe.mat": "not a sound file",
    }


def test_folders_that_are_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no sound file"):
        find_noise([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no such folder of noise"):
        find_noise([tmp_path / "none"])
    sound(tmp_path / "a" / "noise" / "x.wav")
    sound(tmp_path / "b" / "noise" / "y.wav")
    with pytest.raises(ValueError, match="a second noise folder called noise"):
        find_noise([tmp_path / "a" / "noise", tmp_path / "b" / "noise"])
    sound(tmp_path / "c" / "x.wav")
    with pytest.raises(ValueError, match="noise type x is there twice"):
        find_noise([tmp_path / "a" / "noise", tmp_path / "c"])
    with pytest.raises(ValueError, match="part 'dev' of the noise is not one of"):
        find_noise([tmp_path / "c"], "dev")


def test_a_recording_may_not_have_the_name_of_made_noise(tmp_path):
    sound(tmp_path / "mine" / "pink.wav")
    with pytest.raises(ValueError, match="pink would be ambiguous"):
        noise_config(find_noise([tmp_path / "mine"]), ["pink"])


def test_talkers_of_a_list_make_babble(tmp_path):
    lines = ["utterance_id\tpath\ttext\tspeaker_id"]
    for number in range(4):
        sound(tmp_path / "talk" / "deep" / f"t{number}.wav", number)
        lines.append(f"t{number}\ttalk/deep/t{number}.wav\thello\ts{number % 2}")
    (tmp_path / "talkers.tsv").write_text("\n".join(lines) + "\n")
    talkers = read_utterance_list(tmp_path / "talkers.tsv")
    config = noise_config(find_noise([musan(tmp_path)]), ["babble_4"], talkers=talkers)
    assert [one.path for one in config.test.talkers] == [f"deep/t{n}.wav" for n in range(4)]
    segment, uses = NoiseBank(config, "test").segment("babble_4", "u", 0, 800)
    assert segment.shape == (800,) and len(uses) == 4
    with pytest.raises(ValueError, match="babble_8 needs 8 recordings"):
        noise_config(find_noise([tmp_path / "musan"]), ["babble_8"], talkers=talkers)


def test_noise_that_training_heard_is_found_by_content(tmp_path):
    sound(tmp_path / "mine" / "cafe.wav", 1)
    sound(tmp_path / "mine" / "street.wav", 2)
    sound(tmp_path / "heard" / "renamed.wav", 1)
    config = noise_config(find_noise([tmp_path / "mine"]), ["cafe"])
    assert files_of_test(config) == ["mine/cafe.wav"]
    with pytest.raises(ValueError, match=r"1 noise files .* mine/cafe\.wav = .*renamed\.wav"):
        check_apart_from_training(config, [tmp_path / "heard"])
    shared = check_apart_from_training(config, [tmp_path / "heard"], allowed=True)
    assert shared == ["mine/cafe.wav"]
    other = noise_config(find_noise([tmp_path / "mine"]), ["street"])
    assert check_apart_from_training(other, [tmp_path / "heard" / "renamed.wav"]) == []
    with pytest.raises(ValueError, match="no such training noise"):
        check_apart_from_training(config, [tmp_path / "nowhere"])
