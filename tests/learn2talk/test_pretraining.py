"""A student's ear: Whisper's vectors as targets, sounds changed, a trunk that a student takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from avsr.files import read_json, write_json, write_wav
from avsr.models.whisper import WhisperConfig, WhisperEncoder
from avsr.training.loop import TrainConfig
from learn2talk import cli
from learn2talk.data import sounds as sounds_module
from learn2talk.data.sounds import (
    EarBatch,
    EarExamples,
    Sound,
    SoundChanges,
    at_speed,
    collate_ear,
    packed,
    read_sounds,
    read_speech,
    whisper_vectors,
    write_targets,
)
from learn2talk.models.student import Student, StudentConfig
from learn2talk.pretraining import (
    EarConfig,
    Listener,
    distillation_loss,
    pretrain_ear,
    start_with_ear,
    unexplained,
)
from learn2talk.training import StudentTrainConfig, train_student

SMALL = StudentConfig(width=16, layers=1, heads=2, feedforward=16, look_back_frames=4)
FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=1, max_frames=200)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> WhisperEncoder:
    """A Whisper of 16 numbers a vector, in place of a real one."""
    torch.manual_seed(0)
    shape = WhisperConfig(width=16, encoder_layers=1, encoder_heads=2, decoder_heads=2, hidden=16)
    model = WhisperEncoder(shape).eval()
    monkeypatch.setattr(
        sounds_module, "load_whisper", lambda name: (SimpleNamespace(encoder=model), None)
    )
    return model


def sound(folder: Path, name: str, speaker: str, seconds: float, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    write_wav(folder / name, 0.2 * rng.standard_normal(round(16_000 * seconds)).clip(-4, 4))
    return Sound(name, speaker, folder / name)


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, list[Sound]]:
    return {
        "train": [sound(tmp_path, f"t{k}.wav", f"v{k % 2}", 1.0 + 0.2 * k, k) for k in range(4)],
        "valid": [sound(tmp_path, f"w{k}.wav", "v9", 1.0, 10 + k) for k in range(2)],
    }


def test_sounds_share_thirty_seconds(tmp_path: Path, sounds: dict[str, list[Sound]]) -> None:
    long = Sound("long", "v", tmp_path / "long")
    lengths = {**{s.name: None for s in sounds["train"]}, "long": 28.0}

    def read(one: Sound) -> np.ndarray:
        if lengths[one.name] is None:
            return read_speech(one)
        return np.zeros(round(16_000 * 28.0), np.float32)

    first, second = packed([*sounds["train"], long], read)
    assert [one.name for one, _, _ in first] == ["t0.wav", "t1.wav", "t2.wav", "t3.wav"]
    assert [start for _, start, _ in first] == [0, 22_400, 48_000, 76_800]  # 0.4 s between them
    assert [one.name for one, _, _ in second] == ["long"]


def test_targets_are_whispers_vectors_where_the_sound_is(
    encoder: WhisperEncoder, sounds: dict[str, list[Sound]], tmp_path: Path
) -> None:
    [group] = packed(sounds["train"])
    vectors = whisper_vectors(encoder, group)
    assert [len(v) for v in vectors] == [25, 30, 35, 40]
    whole = np.zeros(480_000, np.float32)
    for _, start, samples in group:
        whole[start : start + len(samples)] = samples
    with torch.no_grad():
        every = encoder(torch.from_numpy(whole)[None], torch.tensor([480_000]))[0][0]
    expected = every[70:130].reshape(30, 2, 16).mean(1)  # the second starts at 1.4 s
    np.testing.assert_allclose(vectors[1], expected, atol=2e-3)
    folder = write_targets(sounds["train"], "tiny", tmp_path / "run")
    examples = EarExamples(sounds["train"], folder, None, 80)
    mean, spread = examples.statistics
    np.testing.assert_allclose(
        examples.example(1, 0).targets * spread + mean, vectors[1], atol=2e-3
    )
    every_target = np.concatenate([examples.example(k, 0).targets for k in range(4)])
    np.testing.assert_allclose(every_target.mean(0), 0, atol=1e-3)
    before = (folder / "targets.f16").stat().st_mtime_ns
    write_targets(sounds["train"], "tiny", folder)
    assert (folder / "targets.f16").stat().st_mtime_ns == before  # left alone
    with pytest.raises(ValueError, match="holds the targets of other sounds"):
        write_targets(sounds["valid"], "tiny", folder)
    with pytest.raises(ValueError, match=r"has no targets of \['w0.wav', 'w1.wav'\]"):
        EarExamples(sounds["valid"], folder, None, 80)


def test_a_slower_sound_takes_the_targets_of_its_frames() -> None:
    samples = np.sin(np.arange(640 * 20) / 5).astype(np.float32)
    targets = np.arange(20, dtype=np.float32)[:, None]
    same = at_speed(samples, targets, 40, 40)
    assert same[0] is samples and same[1] is targets
    slower, of_slower = at_speed(samples, targets, 40, 50)
    assert len(slower) == 640 * 25 and len(of_slower) == 25
    assert of_slower[0] == 0 and of_slower[-1] == 19 and (np.diff(of_slower[:, 0]) >= 0).all()
    crossings = [int((np.diff(np.sign(s)) != 0).sum()) for s in (samples, slower)]
    assert abs(crossings[0] - crossings[1]) <= 2  # as many waves in more time: a lower voice
    faster, of_faster = at_speed(samples, targets, 40, 32)
    assert len(of_faster) == 16 and len(faster) == 640 * 16


def test_examples_change_with_the_epoch_and_only_then(
    encoder: WhisperEncoder, sounds: dict[str, list[Sound]], tmp_path: Path
) -> None:
    folder = write_targets(sounds["train"], "tiny", tmp_path / "run")
    examples = EarExamples(sounds["train"], folder, SoundChanges(), 80)
    one, again, other = (examples.example(2, epoch) for epoch in (0, 0, 1))
    assert np.array_equal(one.features, again.features)
    assert one.features.shape != other.features.shape or not np.allclose(
        one.features, other.features
    )
    for example in (one, other):
        assert len(example.features) == 4 * len(example.targets)
    batch = collate_ear([examples.example(0, 0), examples.example(3, 0)])
    assert batch.num_targets == int(batch.valid_mask.sum())
    assert batch.features.shape[1] == 4 * batch.targets.shape[1]


def test_the_loss_is_the_mean_square_of_real_frames() -> None:
    class Zero(torch.nn.Module):
        def forward(self, features: torch.Tensor, valid_mask: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*valid_mask.shape, 3)

    targets = torch.zeros(1, 2, 3)
    targets[0, 0] = torch.tensor([1.0, 2.0, 2.0])
    targets[0, 1] = 100.0
    mask = torch.tensor([[True, False]])
    batch = EarBatch(("a",), torch.zeros(1, 8, 80), mask, targets, 1)
    loss = distillation_loss(Zero(), batch)
    assert float(loss.total) == 3.0 and loss.count == 1


def test_training_learns_and_a_student_takes_the_trunk(
    encoder: WhisperEncoder, sounds: dict[str, list[Sound]], tmp_path: Path, tiny_corpus: Path
) -> None:
    settings = replace(FEW, max_updates=40, validate_every=20, learning_rate=5e-3)
    config = EarConfig(model=SMALL, train=settings, changes=SoundChanges(0.0, 0.0))
    examples = EarExamples(
        sounds["train"], write_targets(sounds["train"], "t", tmp_path / "t"), None, 80
    )
    chance = unexplained(Listener(SMALL, 16), examples)["unexplained"]
    best = pretrain_ear(sounds, "tiny", tmp_path / "ear", config, cpu=True)
    assert best["unexplained"] < chance
    info = read_json(tmp_path / "ear/ear.json")
    assert info["provenance"]["voices"] == {"train": 2, "valid": 1}
    student = Student(SMALL, 5)
    head = student.vertices.weight.clone()
    taken = start_with_ear(student, tmp_path / "ear")
    assert taken["weights_sha256"] == info["weights_sha256"]
    assert torch.equal(student.vertices.weight, head)
    chosen = Student(SMALL, 7)
    start_with_ear(chosen, tmp_path / "ear")
    features = torch.randn(1, 40, 80)
    with torch.no_grad():
        a, b = (one.eval().encode(features)[0] for one in (student, chosen))
    assert torch.equal(a, b)
    run = tmp_path / "student"
    plain = StudentTrainConfig(model=SMALL, train=replace(FEW, learning_rate=0.0), sync_weight=0.0)
    train_student(tiny_corpus, run, None, plain, ear=tmp_path / "ear", cpu=True)
    assert info["weights_sha256"] in (run / "run.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"give the student the same sizes"):
        start_with_ear(Student(replace(SMALL, width=32), 5), tmp_path / "ear")
    with pytest.raises(ValueError, match=r"nothing: has no ear.json"):
        start_with_ear(student, tmp_path / "nothing")
    (tmp_path / "ear/ear.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="is not the file that ear.json tells of"):
        start_with_ear(student, tmp_path / "ear")


def test_bad_recordings_and_tables_are_named(
    encoder: WhisperEncoder, sounds: dict[str, list[Sound]], tmp_path: Path
) -> None:
    short = sound(tmp_path, "short.wav", "v", 0.02, 0)
    with pytest.raises(ValueError, match=r"short.wav: 0.02 s; give recordings of one frame"):
        write_targets([short], "tiny", tmp_path / "a")
    with pytest.raises(ValueError, match=r"names given twice: \['t0.wav'\]"):
        write_targets([sounds["train"][0]] * 2, "tiny", tmp_path / "b")
    same = {**sounds, "valid": [replace(s, speaker="v0") for s in sounds["valid"]]}
    with pytest.raises(ValueError, match=r"speakers \['v0'\] are in train and valid"):
        pretrain_ear(same, "tiny", tmp_path / "c")
    with pytest.raises(ValueError, match="give recordings of train and of valid"):
        pretrain_ear({"train": sounds["train"], "valid": []}, "tiny", tmp_path / "c")
    with pytest.raises(ValueError, match=r"speed 0.7 must be in \[0, 0.5\)"):
        SoundChanges(speed=0.7)
    table = tmp_path / "sounds.tsv"
    with pytest.raises(ValueError, match="no such table"):
        read_sounds(table, tmp_path)
    table.write_text("file\tspeaker\nt0.wav\tv0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"sounds.tsv:1: lacks the columns split"):
        read_sounds(table, tmp_path)
    table.write_text("file\tspeaker\tsplit\nt0.wav\tv0\ttest\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"sounds.tsv:2: needs a file, a speaker, and train or"):
        read_sounds(table, tmp_path)


def test_the_command_pretrains_from_a_table(
    encoder: WhisperEncoder,
    sounds: dict[str, list[Sound]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [f"{s.name}\t{s.speaker}\t{split}" for split, part in sounds.items() for s in part]
    table = tmp_path / "sounds.tsv"
    table.write_text("\n".join(["file\tspeaker\tsplit", *lines]) + "\n", encoding="utf-8")
    words = f"train ear {table} --whisper tiny --out {tmp_path / 'run'} --cpu".split()
    words += "--config.model.width 16 --config.model.layers 1 --config.model.heads 2".split()
    words += "--config.train.max-updates 1 --config.train.validate-every 1".split()
    cli.main(words)
    assert "unexplained" in capsys.readouterr().out
    assert (tmp_path / "run/ear.safetensors").is_file()
    write_json(tmp_path / "run/targets.json", {"whisper": "other", "sounds": []})
    with pytest.raises(SystemExit):
        cli.main(words)
