from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.data.utterance_list import read_utterance_list
from avsr.files import write_wav


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for number in range(3):
        samples = 0.1 * np.random.default_rng(number).standard_normal(1600)
        write_wav(tmp_path / "wav" / f"u{number}.wav", samples)
    return tmp_path


def table(
    folder: Path, *lines: str, head: str = "utterance_id\tpath\ttext\tspeaker_id\tsplit"
) -> Path:
    path = folder / "list.tsv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_table_has_the_utterances_of_its_split(sounds):
    path = table(sounds, 'u0\twav/u0.wav\tYes, "no\t\ttest', "u1\twav/u1.wav\tno\ts1\ttrain")
    found = read_utterance_list(path)
    (one,) = found
    assert (one.utterance_id, one.speaker_id, one.text) == ("u0", "", 'Yes, "no')
    assert found.waveform("u0").shape == (1600,) and len(found.sha256()) == 64
    assert [one.utterance_id for one in read_utterance_list(path, None)] == ["u0", "u1"]
    with pytest.raises(ValueError, match="has no utterance u1"):
        found.waveform("u1")


def test_a_kaldi_folder_with_and_without_speakers(sounds):
    (sounds / "wav.scp").write_text("u0 wav/u0.wav\nu1 wav/u1.wav\n\n")
    (sounds / "text").write_text("u1 hello there\nu0 good bye\n")
    found = read_utterance_list(sounds)
    assert [(u.utterance_id, u.text, u.speaker_id) for u in found] == [
        ("u0", "good bye", ""),
        ("u1", "hello there", ""),
    ]
    (sounds / "utt2spk").write_text("u0 anna\nu1 bob\n")
    assert [one.speaker_id for one in read_utterance_list(sounds)] == ["anna", "bob"]


def test_fairseq_manifests_of_sound_and_of_av_hubert(sounds):
    (sounds / "a.tsv").write_text(f"{sounds}\nwav/u0.wav\t1600\nwav/u2.wav\t1600\n")
    (sounds / "a.wrd").write_text("good\nbye\n")
    assert [(u.utterance_id, u.text) for u in read_utterance_list(sounds / "a.tsv")] == [
        ("wav/u0.wav", "good"),
        ("wav/u2.wav", "bye"),
    ]
    row = "test/0\tvideo/u0.mp4\twav/u0.wav\t2\t1600\n"
    (sounds / "a.tsv").write_text(f"{sounds}\n{row}")
    (sounds / "a.wrd").write_text("good\n")
    (one,) = read_utterance_list(sounds / "a.tsv")
    assert one.utterance_id == "test/0" and one.path == sounds / "wav/u0.wav"
    (sounds / "a.wrd").write_text("good\nbye\n")
    with pytest.raises(ValueError, match="1 sounds but 2 texts"):
        read_utterance_list(sounds / "a.tsv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "lists no utterance"),
        (("u0\twav/u0.wav\ta\t\ttest", "u0\twav/u1.wav\tb\t\ttest"), "u0 stands in it twice"),
        (("u0\twav/none.wav\ta\t\ttest",), r"1 of 1 sounds are not there, .*none\.wav"),
        (("\twav/u0.wav\ta\t\ttest",), r"list\.tsv:2: a field is empty"),
    ],
)
def test_tables_that_are_wrong(sounds, lines, message):
    with pytest.raises(ValueError, match=message):
        read_utterance_list(table(sounds, *lines))


def test_lists_that_are_none(sounds):
    with pytest.raises(ValueError, match="is no prepared corpus"):
        read_utterance_list(sounds / "missing")
    with pytest.raises(ValueError, match=r"lacks the columns \['text'\]"):
        read_utterance_list(table(sounds, "a\tb", head="utterance_id\tpath"))
    (sounds / "wav.scp").write_text("u0 sox wav/u0.wav -t wav - |\n")
    (sounds / "text").write_text("u0 good\n")
    with pytest.raises(ValueError, match="nothing is run from a list"):
        read_utterance_list(sounds)
    (sounds / "text").write_text("u1 good\n")
    with pytest.raises(ValueError, match="differ in 2 utterances"):
        read_utterance_list(sounds)
    (sounds / "text").unlink()
    with pytest.raises(ValueError, match="text: no such file"):
        read_utterance_list(sounds)
