from __future__ import annotations

import numpy as np
import pytest

from avsr.data.mixtures import MixtureRow, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit
from avsr.data.rooms import RoomBank, check_room, rooms_of_folder
from avsr.files import write_wav
from avsr.noise import signal_power
from avsr.reverberation import from_direct_sound, reverberate


@pytest.fixture
def folder(tmp_path):
    for name, gap in (("hall", 400), ("room", 90)):
        response = np.zeros(900)
        response[20], response[20 + gap] = 0.9, 0.5
        write_wav(tmp_path / "rirs" / f"{name}.wav", response)
    return tmp_path / "rirs"


def test_a_measured_room_is_one_of_the_folder_by_utterance(folder):
    rooms = rooms_of_folder(folder)
    drawn = {}
    for number in range(30):
        response, (use,) = rooms.response("measured", f"u{number}")
        drawn[use.path] = response
    assert sorted(drawn) == ["rirs/hall.wav", "rirs/room.wav"]
    assert drawn["rirs/hall.wav"][400] == pytest.approx(0.5, abs=1e-4)
    again, (use,) = rooms_of_folder(folder).response("measured", "u3")
    assert np.array_equal(again, rooms.response("measured", "u3")[0]) and len(use.sha256) == 64


def test_a_simulated_room_is_the_same_again_and_another_for_another_utterance():
    bank = RoomBank()
    one, uses = bank.response("rt60_0.4", "u")
    assert uses == () and np.array_equal(one, RoomBank().response("rt60_0.4", "u")[0])
    assert not np.array_equal(one, bank.response("rt60_0.4", "v")[0])
    assert bank.response("none", "u") == (None, ())


@pytest.mark.parametrize("room", ["hall", "rt60_", "rt60_0", "rt60_99", "rt60_x", ""])
def test_unknown_rooms_are_named(room):
    with pytest.raises(ValueError, match=r"is not none, measured or rt60_<seconds>"):
        check_room(room)


def test_measured_rooms_need_a_folder_with_sound(tmp_path):
    with pytest.raises(ValueError, match="name their folder"):
        RoomBank().response("measured", "u")
    with pytest.raises(ValueError, match=r"no room response \(.wav"):
        rooms_of_folder(tmp_path)
    write_wav(tmp_path / "silent.wav", np.zeros(100))
    with pytest.raises(ValueError, match=r"silent\.wav: .* is silent"):
        rooms_of_folder(tmp_path).response("measured", "u")


def test_mixtures_in_a_room_have_the_level_of_the_reverberant_speech(folder, tmp_path):
    rooms = rooms_of_folder(folder)
    bank = NoiseBank(NoiseConfig(tmp_path, test=NoiseSplit(types=("white",))), "test")
    speech = np.random.default_rng(0).standard_normal(16000) * 0.1
    manifest = build_mixture_manifest(
        [("u", speech)],
        bank,
        noise_types=["white"],
        snrs_db=[0.0, None],
        seeds=[0],
        rooms=rooms,
        reverberations=["none", "measured", "rt60_0.3"],
    )
    assert len(manifest.rows) == 6
    by_name = {row.mixture_id: row for row in manifest.rows}
    assert set(by_name) == {
        *("u-clean", "u-clean-measured", "u-clean-rt60_0.3"),
        *("u-white-0dB-s0", "u-white-0dB-s0-measured", "u-white-0dB-s0-rt60_0.3"),
    }
    noisy = by_name["u-white-0dB-s0-measured"]
    assert MixtureRow.from_row(noisy.to_row()) == noisy and noisy.room_files
    assert "reverberation" not in by_name["u-white-0dB-s0"].to_row()
    wet = reverberate(speech, rooms.response("measured", "u")[0])
    rendered = render_mixture(noisy, speech, bank, rooms)
    assert np.allclose(render_mixture(by_name["u-clean-measured"], speech, bank, rooms), wet)
    added = rendered - wet
    assert 10 * np.log10(signal_power(wet) / signal_power(added)) == pytest.approx(0, abs=0.01)


def test_another_room_than_the_manifests_is_refused(folder, tmp_path):
    bank = NoiseBank(NoiseConfig(tmp_path, test=NoiseSplit(types=("white",))), "test")
    speech = np.random.default_rng(0).standard_normal(16000) * 0.1
    rows = build_mixture_manifest(
        [("u", speech)],
        bank,
        noise_types=["white"],
        snrs_db=[0.0, None],
        rooms=rooms_of_folder(folder),
        reverberations=["measured"],
    ).rows
    for path in folder.iterdir():
        response = np.zeros(50)
        response[3], response[9] = 0.8, 0.2
        write_wav(path, response)
    changed = rooms_of_folder(folder)
    for row in rows:
        with pytest.raises(ValueError, match="files, hashes or offsets differ"):
            render_mixture(row, speech, bank, changed)
    assert from_direct_sound(np.array([0.0, 1.0])).size == 1
