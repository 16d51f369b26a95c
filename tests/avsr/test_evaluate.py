"""Decoding a split: every condition once, resumable, shared out, and what the network says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.data.collate import collate
from avsr.data.manifest import decode_array
from avsr.data.mixtures import MixtureRow, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit
from avsr.decode.config import DecodingConfig
from avsr.decode.ctc import ctc_prefix_beam
from avsr.decode.decoding import decode_memory
from avsr.evaluate import (
    System,
    VisualInputs,
    another_audio,
    decode_split,
    fit_frames,
    merge_hypotheses,
)
from avsr.files import read_jsonl
from avsr.models.recognizer import Recognizer
from avsr.schema import Hypothesis
from avsr.text import normalise
from avsr.training.recognizer import plain_example

TWO = DecodingConfig("ctc", beam_size=2)
SOURCES = (
    "mouth_crops",
    "tracked_lips",
    "generated_from_clean",
    "generated_from_noisy",
    "generated_from_other",
    "still",
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> NoiseBank:
    split = NoiseSplit(types=("white",))
    return NoiseBank(NoiseConfig(root=tmp_path_factory.mktemp("noise"), test=split), "test")


@pytest.fixture(scope="module")
def mixtures(test_rows: Any, bank: NoiseBank) -> tuple[MixtureRow, ...]:
    audio = [(row["utterance_id"], decode_array(row["audio"])) for row in test_rows]
    options: Any = {"noise_types": ["white"], "snrs_db": [None, -10.0, 0.0], "seeds": [0, 1]}
    return build_mixture_manifest(audio, bank, **options).rows


def generate(waveforms: list[np.ndarray]) -> list[np.ndarray]:
    """Lips whose opening follows the loudness, one frame short."""
    clips = []
    for waveform in waveforms:
        assert waveform.dtype == np.float32
        loudness = np.abs(waveform.reshape(-1, 640)).mean(1)[:-1]
        lips = np.zeros((len(loudness), 40, 3), np.float32)
        lips[:, ::3, 1] = 100 * loudness[:, None]
        clips.append(lips)
    return clips


@pytest.fixture(scope="module")
def inputs(test_rows: Any) -> VisualInputs:
    return VisualInputs(
        generate=generate,
        still_lips={name: np.ones((40, 3), np.float32) for name in ("s0", "s1")},
        other_audio=another_audio(test_rows),
    )


@pytest.fixture(scope="module")
def system(recognizer: Any, tokenizer: Any) -> System:
    return System("both", recognizer, tokenizer, SOURCES)


@pytest.fixture(scope="module")
def decoded(
    tmp_path_factory: pytest.TempPathFactory,
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    inputs: VisualInputs,
    system: System,
) -> Path:
    out = tmp_path_factory.mktemp("decoded")
    decode_split(test_rows, mixtures, bank, [system], inputs, out, decoding=TWO)
    return out


@pytest.fixture(scope="module")
def found(decoded: Path, test_rows: Any) -> list[Hypothesis]:
    merge_hypotheses(decoded, test_rows, decoded / "all.jsonl")
    return [Hypothesis.from_row(row) for row in read_jsonl(decoded / "all.jsonl")]


def test_every_condition_once(found: list[Hypothesis], test_rows: Any) -> None:
    per_utterance = 5 + 5 * len(SOURCES) + len(SOURCES) - 1  # clean and 2 levels x 2 seeds
    assert len(found) == 3 * per_utterance
    keys = {
        (h.utterance_id, h.modality, h.visual_source, h.noise_type, h.snr_db, h.seed) for h in found
    }
    assert len(keys) == len(found)
    assert [h.utterance_id for h in found[::per_utterance]] == list(test_rows["utterance_id"])
    assert {h.reference for h in found} == set(test_rows["text"])


def test_clean_is_none_and_0_db_is_0(found: list[Hypothesis]) -> None:
    for one in found:
        clean = one.noise_type == "none"
        assert clean == (one.snr_db is None) == (one.seed is None)
    assert {h.snr_db for h in found} == {None, -10.0, 0.0}
    assert sum(h.snr_db == 0.0 for h in found if h.modality == "audio") == 3 * 2


def test_lips_alone_are_decoded_once_and_without_noise(found: list[Hypothesis]) -> None:
    alone = [h for h in found if h.modality == "video"]
    assert {h.visual_source for h in alone} == set(SOURCES) - {"generated_from_noisy"}
    assert len(alone) == 3 * 5 and all(h.noise_type == "none" for h in alone)


@pytest.mark.parametrize("snr_db", [None, 0.0])
@pytest.mark.parametrize("source", ["none", *SOURCES])
def test_hypothesis_is_what_the_network_says(
    source: str,
    snr_db: float | None,
    found: list[Hypothesis],
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    inputs: VisualInputs,
    system: System,
) -> None:
    """The shared encoding of streams equals one plain pass a condition."""
    row = test_rows[1]
    name = row["utterance_id"]
    speech = decode_array(row["audio"])
    mixture = next(m for m in mixtures if m.utterance_id == name and m.snr_db == snr_db)
    waveform = render_mixture(mixture, speech, bank)
    assert inputs.other_audio is not None
    heard = {
        "generated_from_clean": speech,
        "generated_from_noisy": waveform.astype(np.float32),
        "generated_from_other": inputs.other_audio[name],
    }
    lips = None
    if source in heard:
        lips = fit_frames(generate([heard[source]])[0], row["num_frames"])
    elif source == "still":
        lips = np.ones((row["num_frames"], 40, 3), np.float32)
    streams = {"none": ("audio",), "mouth_crops": ("audio", "crops")}.get(source, ("audio", "lips"))
    example = plain_example(row, streams, num_mels=80, waveform=waveform, lips=lips)
    with torch.no_grad():
        scores = system.model(collate([example]))[0].log_softmax(-1).numpy()
    expected = normalise(system.tokenizer.decode(ctc_prefix_beam(scores, 2)[0][0]))
    (said,) = (
        h.hypothesis
        for h in found
        if h.utterance_id == name
        and h.visual_source == source
        and h.modality != "video"
        and (h.snr_db, h.seed) == (snr_db, mixture.seed)
    )
    assert said == expected and said


def test_noisy_audio_moves_other_lips_than_clean_audio(found: list[Hypothesis]) -> None:
    """At -10 dB the two differ in what they make the network say, and agree where it is clean."""

    def texts(source: str, snr_db: float | None) -> list[str]:
        return [h.hypothesis for h in found if (h.visual_source, h.snr_db) == (source, snr_db)]

    assert texts("generated_from_noisy", -10.0) != texts("generated_from_clean", -10.0)
    clean = [
        h.hypothesis
        for h in found
        if h.visual_source == "generated_from_clean"
        and h.snr_db is None
        and h.modality == "audio_visual"
    ]
    assert texts("generated_from_noisy", None) == clean


def test_a_generator_made_for_noise_is_asked_for_noisy_sound_alone(
    test_rows: Any, mixtures: Any, bank: Any, system: Any, inputs: Any, tmp_path: Path
) -> None:
    asked: list[int] = []

    def for_noise(waveforms: list[np.ndarray]) -> list[np.ndarray]:
        asked.append(len(waveforms))
        return generate(waveforms)

    both = replace(inputs, generate_from_noisy=for_noise)
    decode_split(test_rows, mixtures, bank, [system], both, tmp_path)
    assert len(asked) == len(test_rows)  # once an utterance, with all its mixtures
    assert sum(asked) == len({(m.utterance_id, m.noise_type, m.snr_db, m.seed) for m in mixtures})


def test_mismatched_audio_has_another_text(test_rows: Any) -> None:
    chosen = another_audio(test_rows)
    by_audio = {row["audio"]: row["text"] for row in test_rows}
    from avsr.data.manifest import encode_array

    for row in test_rows:
        assert by_audio[encode_array(chosen[row["utterance_id"]])] != row["text"]
    with pytest.raises(ValueError, match="no utterance with another text in a split of 1"):
        another_audio(test_rows.select([0]))


def test_what_is_decoded_is_kept_and_the_rest_is_done(
    decoded: Path,
    tmp_path: Path,
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    inputs: VisualInputs,
    system: System,
) -> None:
    """Two processes share the split without overlap and give the files of one."""
    options: Any = {"decoding": TWO, "num_processes": 2}
    arguments = (test_rows, mixtures, bank, [system], inputs, tmp_path)
    decode_split(*arguments, process_index=1, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["test__1.jsonl"]
    with pytest.raises(ValueError, match=r"2 of 3 utterances are not decoded yet.*test/0"):
        merge_hypotheses(tmp_path, test_rows, tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()
    (tmp_path / "test__1.jsonl").write_text("kept")
    decode_split(*arguments, process_index=0, **options)
    decode_split(*arguments, process_index=1, **options)
    assert (tmp_path / "test__1.jsonl").read_text() == "kept"
    for name in ("test__0.jsonl", "test__2.jsonl"):
        assert (tmp_path / name).read_text() == (decoded / name).read_text()


def test_joint_decoding_of_a_network_with_a_decoder(
    tmp_path: Path,
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    recognizer: Any,
    tokenizer: Any,
    system: System,
) -> None:
    torch.manual_seed(0)
    hybrid = Recognizer(replace(recognizer.config, decoder_layers=1)).eval()
    joint = DecodingConfig("joint", beam_size=3, ctc_weight=0.5)
    arguments: Any = (mixtures, bank, [System("hybrid", hybrid, tokenizer)], VisualInputs())
    decode_split(test_rows.select([0]), *arguments, tmp_path, decoding=joint)
    (first, *_) = read_jsonl(tmp_path / "test__0.jsonl")
    batch = collate(
        [plain_example(test_rows[0], ("audio",), num_mels=80)]  # the first mixture is clean
    )
    with torch.no_grad():
        memory = hybrid.memory_of(batch)
    (tokens,) = decode_memory(hybrid, memory, batch.lengths, joint)
    assert first["snr_db"] is None and first["hypothesis"] == normalise(tokenizer.decode(tokens))
    with pytest.raises(ValueError, match="needs an attention decoder"):
        arguments = (mixtures, bank, [system], VisualInputs())
        decode_split(test_rows.select([1]), *arguments, tmp_path, decoding=joint)


def test_a_failure_leaves_no_half_file(
    tmp_path: Path,
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    inputs: VisualInputs,
    system: System,
) -> None:
    def stopped(waveforms: list[np.ndarray]) -> list[np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_split(
            test_rows, mixtures, bank, [system], replace(inputs, generate=stopped), tmp_path
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("still", "'still' needs the neutral lips"),
        ("generated_from_clean", "'generated_from_clean' needs a lip generator"),
        ("telepathy", "'telepathy' needs a lip generator"),
    ],
)
def test_inputs_that_are_missing_are_named(
    source: str,
    message: str,
    tmp_path: Path,
    test_rows: Any,
    mixtures: tuple[MixtureRow, ...],
    bank: NoiseBank,
    system: System,
) -> None:
    asked = replace(system, visual_sources=(source,))
    with pytest.raises(ValueError, match=message):
        decode_split(test_rows, mixtures, bank, [asked], VisualInputs(), tmp_path)
    with pytest.raises(ValueError, match=r"utterance test/0 is not in the mixture manifest"):
        decode_split(test_rows, [], bank, [asked], VisualInputs(), tmp_path)


@pytest.mark.parametrize(("length", "expected"), [(1, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_lips_are_cut_or_their_last_frame_held(length: int, expected: list[int]) -> None:
    lips = np.arange(length, dtype=np.float32)[:, None, None] * np.ones((1, 40, 3), np.float32)
    assert fit_frames(lips, 3)[:, 0, 0].tolist() == expected


def test_disturbed_pictures_and_rooms_are_decoded_beside_the_undisturbed(
    test_rows: Any, bank: NoiseBank, inputs: VisualInputs, system: System, tmp_path: Path
) -> None:
    audio = [(row["utterance_id"], decode_array(row["audio"])) for row in test_rows]
    options: Any = {"noise_types": ["white"], "snrs_db": [None, 0.0], "seeds": [0]}
    rooms = ("none", "rt60_0.4")
    manifest = build_mixture_manifest(audio, bank, reverberations=rooms, **options)
    chosen = replace(system, visual_sources=("mouth_crops", "tracked_lips", "still"))
    conditions = ("clean", "missing_50", "blurred_3")
    decode_split(
        test_rows,
        manifest.rows,
        bank,
        [chosen],
        inputs,
        tmp_path / "parts",
        decoding=TWO,
        video_conditions=conditions,
    )
    merge_hypotheses(tmp_path / "parts", test_rows, tmp_path / "all.jsonl")
    rows = [Hypothesis.from_row(row) for row in read_jsonl(tmp_path / "all.jsonl")]
    seen = {(one.visual_source, one.video_condition) for one in rows}
    assert seen == {
        ("none", "clean"),
        *(("mouth_crops", condition) for condition in conditions),
        *(("tracked_lips", condition) for condition in ("clean", "missing_50")),
        ("still", "clean"),
    }
    heard = {one.reverberation for one in rows if one.modality != "video"}
    assert heard == set(rooms) and {
        one.reverberation for one in rows if one.modality == "video"
    } == {"none"}
    # 7 inputs with sound, in 4 mixtures, and 6 without sound.
    assert len(rows) == len(test_rows) * (7 * 4 + 6)
