"""Local checkpoints of transformers: a tiny random CTC network, broken folders, and Whisper."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.adapters import load_adapter
from avsr.adapters.transformers_asr import decoder_kind
from avsr.files import load_weights, read_audio, save_weights, sha256_file

VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6, "C": 7}


@pytest.fixture(scope="module")
def wav2vec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained wav2vec 2.0 with a CTC head over three letters, as transformers saves it."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-wav2vec"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        network.lm_head.weight.mul_(30)
    network.save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture
def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size).astype(np.float32) for size in (9000, 640, 16000)]


def best_path(folder: Path, sound: np.ndarray) -> str:
    """CTC's best path, worked out without the library's processors."""
    from transformers import Wav2Vec2ForCTC

    network = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    scaled = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    with torch.no_grad():
        ids = network(torch.from_numpy(scaled)[None]).logits[0].argmax(-1).tolist()
    letters = {number: "" if "<" in one else one for one, number in VOCABULARY.items()}
    kept = [one for place, one in enumerate(ids) if place == 0 or ids[place - 1] != one]
    return " ".join("".join(letters[one] for one in kept).replace("|", " ").split())


def test_a_ctc_network_is_read_by_its_best_path(wav2vec: Path, sounds: list[np.ndarray]) -> None:
    adapter = load_adapter("transformers", wav2vec)
    expected = [best_path(wav2vec, sound) for sound in sounds]
    assert len(set(expected)) == 3 and len(expected[2]) > 3
    assert adapter.transcribe(sounds) == expected
    assert adapter.transcribe(sounds[::-1]) == expected[::-1]  # whatever stands beside it
    assert adapter.name == "tiny-wav2vec"
    assert adapter.facts["decoding"] == "CTC best path"
    assert adapter.facts["network"] == "Wav2Vec2ForCTC"
    weights = sha256_file(wav2vec / "model.safetensors")
    assert adapter.facts["sha256 model.safetensors"] == weights


def changed(folder: Path, to: Path, **config: Any) -> Path:
    shutil.copytree(folder, to)
    told = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**told, **config}))
    return to


def test_missing_weights_are_not_drawn_at_random(wav2vec: Path, tmp_path: Path) -> None:
    folder = changed(wav2vec, tmp_path / "headless")
    state, metadata = load_weights(folder / "model.safetensors")
    state.pop("wav2vec2.masked_spec_embed")  # used in training only
    save_weights(folder / "model.safetensors", state, metadata)
    load_adapter("transformers", folder)
    state.pop("lm_head.weight")
    save_weights(folder / "model.safetensors", state, metadata)
    with pytest.raises(ValueError, match=r"1 weights are missing, such as lm_head.weight"):
        load_adapter("transformers", folder)


def test_another_rate_is_refused(wav2vec: Path, tmp_path: Path) -> None:
    folder = changed(wav2vec, tmp_path / "telephone")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling_rate": 8000}))
    with pytest.raises(ValueError, match="hears 8000 Hz, the test is at 16000 Hz"):
        load_adapter("transformers", folder)


def test_folders_that_are_no_recogniser_are_refused(wav2vec: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"owner/name: has no config.json; give the local folder"):
        load_adapter("transformers", Path("owner/name"))
    for names in ([], None, ["Wav2Vec2ForPreTraining"]):
        folder = changed(wav2vec, tmp_path / f"pretrained{names}", architectures=names)
        with pytest.raises(ValueError, match=r"architectures .* write no text; .* ForCTC"):
            load_adapter("transformers", folder)
    assert decoder_kind(changed(wav2vec, tmp_path / "other", architectures=["XForCTC"])) == "ctc"
    folder = changed(wav2vec, tmp_path / "without")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="transformers cannot load it") as error:
        load_adapter("transformers", folder)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.real_data
def test_whisper_reads_grid_and_long_sounds(avsr_data: Path, tmp_path: Path) -> None:
    folder = avsr_data / "models" / "whisper-tiny.en"
    clips = [avsr_data / "grid/s1/video" / f"{name}.mp4" for name in ("bbaf3s", "bbaf5a")]
    speech = [read_audio(clip) for clip in clips]
    adapter = load_adapter("transformers", folder)
    texts = adapter.transcribe([*speech, np.zeros(16000, np.float32)])
    assert all(texts[:2]) and texts[0] != texts[1] and texts[2] == ""
    assert adapter.transcribe(speech[::-1]) == texts[1::-1]
    assert adapter.facts["decoding"].startswith("generate() without sampling")
    long = np.concatenate(speech * 6)
    with pytest.raises(ValueError, match=r"reads at most 30 s, a sound has 36\.\d s; cut it"):
        adapter.transcribe([long])
    # As published, Whisper's generation config names its time tokens; then long sounds are read.
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    path = tmp_path / "generation_config.json"
    told = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**told, "no_timestamps_token_id": 50362}))
    heard = load_adapter("transformers", tmp_path).transcribe([long])[0]
    assert len(heard.split()) > 3 * len(" ".join(texts).split()) and "<|" not in heard
