"""PocketSphinx: its grammars, and two clips of GRID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.adapters import load_adapter
from avsr.files import read_audio

pytest.importorskip("pocketsphinx")

GRID = """#JSGF V1.0;
grammar grid;
public <sentence> = <command> <colour> <preposition> <letter> <digit> <adverb>;
<command> = bin | lay | place | set;
<colour> = blue | green | red | white;
<preposition> = at | by | in | with;
<letter> = a. | b. | c. | d. | e. | f. | g. | h. | i. | j. | k. | l. | m. | n. | o. | p. | q. | r.
  | s. | t. | u. | v. | x. | y. | z.;
<digit> = zero | one | two | three | four | five | six | seven | eight | nine;
<adverb> = again | now | please | soon;
"""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsgf", "", "a.jsgf: grammar is empty"),
        ("a.jsgf", "#JSGF V1.0;\ngrammar g;\npublic <s> = zxqv;\n", "The word 'zxqv' is missing"),
        ("a.jsgf", "#JSGF V1.0;\ngrammar g;\npublic <s> = ( a ;\n", "syntax error"),
        ("a.jsgf", "#JSGF V1.0;\ngrammar g;\n<s> = blue;\n", "No public rules found"),
        ("a.kws", "bin blue /1e-9/\nbin zxqv /1e-9/\n", "a.kws:2: word 'zxqv' is not in"),
        ("a.kws", "bin /low/\n", "a.kws:1: 'bin /low/' is no key phrase"),
        ("a.kws", "bin /0/\n", "is no key phrase"),
        ("a.kws", "bin\n\nblue\n", "a.kws:2: '' is no key phrase"),
    ],
)
def test_grammars_that_cannot_be_used_are_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        load_adapter("pocketsphinx", grammar=tmp_path / name)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_grammar_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone.jsgf: grammar cannot be read as text"):
        load_adapter("pocketsphinx", grammar=tmp_path / "gone.jsgf")


def test_noise_and_short_sounds_do_not_fail(tmp_path: Path) -> None:
    (tmp_path / "grid.jsgf").write_text(GRID)
    adapter = load_adapter("pocketsphinx", grammar=tmp_path / "grid.jsgf")
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal(size).astype(np.float32) for size in (640, 5000, 0)]
    assert adapter.transcribe(sounds)[2] == ""
    assert adapter.name == "pocketsphinx-grid"
    assert adapter.facts["decoding"] == "grammar" and "sha256 jsgf" in adapter.facts
    assert "sha256 hmm/means" in adapter.facts and "sha256 lm" not in adapter.facts


@pytest.mark.real_data
def test_grid_by_its_grammar_in_any_order(avsr_data: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.jsgf").write_text(GRID)
    clips = [avsr_data / "grid/s1/video" / f"{name}.mp4" for name in ("bbaf3s", "bbaf5a")]
    speech = [read_audio(clip) for clip in clips]
    adapter = load_adapter("pocketsphinx", grammar=tmp_path / "grid.jsgf")
    texts = adapter.transcribe(speech)
    assert texts[0].startswith("bin blue at ") and texts[0].endswith(" three soon")
    assert texts[1].startswith("bin blue at ") and texts[1].endswith(" five again")
    assert adapter.transcribe(speech[::-1]) == texts[::-1]
    assert adapter.transcribe([0.001 * speech[0], 50 * speech[1]])[1] == texts[1]  # scaled, not cut


@pytest.mark.real_data
def test_key_phrases_are_spotted_in_their_order(avsr_data: Path, tmp_path: Path) -> None:
    (tmp_path / "words.kws").write_text("soon /1e-5/\nbin /1e-5/\n")
    adapter = load_adapter("pocketsphinx", grammar=tmp_path / "words.kws")
    assert adapter.facts["decoding"] == "key phrases"
    speech = read_audio(avsr_data / "grid/s1/video/bbaf3s.mp4")
    assert adapter.transcribe([speech]) == ["bin soon"]


@pytest.mark.slow
@pytest.mark.real_data
def test_the_language_model_gives_the_same_in_any_order(avsr_data: Path) -> None:
    clips = [avsr_data / "grid/s1/video" / f"{name}.mp4" for name in ("bbaf3s", "bbaf5a")]
    speech = [read_audio(clip) for clip in clips]
    adapter = load_adapter("pocketsphinx")
    texts = adapter.transcribe(speech)
    assert all(texts) and texts[0] != texts[1]
    assert adapter.transcribe(speech[::-1]) == texts[::-1]
    assert "sha256 lm" in adapter.facts and adapter.name == "pocketsphinx"
