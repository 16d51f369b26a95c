"""Tables, folders and ids: what does not fit is named in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from learn2talk.face_benchmark.inputs import (
    ONE_SPEAKER,
    System,
    Utterance,
    check_names,
    files_of,
    match,
    read_phones,
    read_system,
    read_texts,
    read_truth,
)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_texts_are_normalised_and_speakers_are_optional(tmp_path: Path) -> None:
    plain = table(tmp_path / "a.tsv", "utterance_id\ttext", 'u/1\tBin "BLUE", at!')
    assert read_texts(plain) == {"u/1": ("bin blue at", ONE_SPEAKER)}
    named = table(tmp_path / "b.tsv", "utterance_id\tspeaker_id\ttext", "u\ts1\tbin", "v\t\tlay")
    assert read_texts(named) == {"u": ("bin", "s1"), "v": ("lay", ONE_SPEAKER)}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("utterance_id\twords", "u\tbin"), "a.tsv:1: header is utterance_id, words; give"),
        (("", ""), "a.tsv:1: header is empty; give utterance_id, text"),
        (("utterance_id\ttext",), "a.tsv: has a header but no line"),
        (("utterance_id\ttext", "u\tbin", "u\tlay"), "a.tsv:3: utterance 'u' is there twice"),
        (("utterance_id\ttext", "\tbin"), "a.tsv:2: names no utterance, or has more fields"),
        (("utterance_id\ttext", "u\tbin\ts1"), "a.tsv:2: names no utterance, or has more fields"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_texts(table(tmp_path / "a.tsv", *lines))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.tsv: no such table"):
        read_texts(tmp_path / "gone.tsv")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_folders_are_systems_named_by_themselves(tmp_path: Path) -> None:
    found = read_system(
        touch(tmp_path / "method", "b.npy", "a.npz", "motion.json", "x.txt"), "motion"
    )
    assert found.name == "method" and list(found.files) == ["a", "b"]
    assert found.unused == ("x.txt",)
    films = read_system(touch(tmp_path / "films", "a.MP4", ".b.mp4"), "film")
    assert list(films.files) == ["a"]
    assert read_truth(touch(tmp_path / "real", "a.mkv")).kind == "film"


Bad = Callable[[Path], object]


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda f: read_system(f / "gone", "motion"), "no such folder; give one with motions"),
        (lambda f: read_system(touch(f / "e", "a.txt"), "film"), "is empty of films; it needs"),
        (
            lambda f: read_system(touch(f / "m", "a.npy", "a.npz"), "motion"),
            "both of utterance 'a'",
        ),
        (lambda f: read_system(touch(f / "truth", "a.npy"), "motion"), "or give it with --truth"),
        (lambda f: read_system(touch(f / "mean_face", "a.npy"), "motion"), "for a control; rename"),
        (lambda f: read_system(touch(f / "shifted_+1", "a.npy"), "motion"), "taken for a control"),
        (lambda f: read_system(touch(f / "a@film", "a.npy"), "motion"), "taken for a control"),
        (lambda f: read_truth(touch(f / "b", "a.npy", "a.mp4")), "has motions and films; keep one"),
        (lambda f: read_truth(touch(f / "n", "a.txt")), "has neither motions nor films"),
        (lambda f: read_truth(f / "gone"), "no such folder; give one with the truth's"),
        (
            lambda f: check_names(
                [read_system(touch(f / d / "m", "a.npy"), "motion") for d in ("x", "y")]
            ),
            "have one name, 'm'; rename",
        ),
        (lambda f: files_of(f, (".wav",), "sounds"), "is empty of sounds"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, do: Bad, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        do(tmp_path)
    assert "\n" not in str(caught.value)


TEXTS = {f"s/{name}": ("bin", "s") for name in "abcde"} | {"s/f": ("", "s")}


def system(name: str, *stems: str) -> System:
    return System(name, "motion", Path(name), {stem: Path(stem) for stem in stems})


def test_what_somebody_lacks_is_counted_and_refused_above_the_limit() -> None:
    stems = [f"s__{name}" for name in "abcdf"]
    sounds = {stem: Path(stem) for stem in stems if stem != "s__c"}
    systems = [system("one", *stems, "other"), system("two", *stems[:3], "s__f")]
    found = match(systems, TEXTS, sounds, allow_missing=4)
    assert [one.utterance_id for one in found.utterances] == ["s/a", "s/b"]
    assert dict(found.left_out) == {
        "other": "text, audio, system two",
        "s/c": "audio",
        "s/d": "system two",
        "s/f": "text",
    }
    assert found.unused_texts == 1
    with pytest.raises(ValueError, match=r"4 of 6 utterances lack something, 3 are allowed"):
        match(systems, TEXTS, sounds, allow_missing=3)
    with pytest.raises(ValueError, match="an interval needs 2"):
        match([system("one", "s__a")], TEXTS, sounds, allow_missing=0)


def test_two_ids_of_one_file_are_refused() -> None:
    texts = {"a/b": ("bin", "s"), "a__b": ("bin", "s")}
    with pytest.raises(ValueError, match="'a/b' and 'a__b' have one file name"):
        match([system("one", "a__b")], texts, {}, allow_missing=9)


def utterances(*names: str) -> list[Utterance]:
    return [Utterance(name, "s", "bin", Path(name)) for name in names]


def test_phones_or_words(tmp_path: Path) -> None:
    table(tmp_path / "s__a.tsv", "phone\tstart_s\tend_s", "b\t0.1\t0.2", "ɪ\t0.2\t0.3")
    found, lacking, estimated = read_phones(tmp_path, utterances("s/a", "s/b"))
    assert [one.phone for one in found["s/a"]] == ["b", "ɪ"]
    assert lacking == ["s/b"] and not estimated
    table(tmp_path / "s__b.tsv", "word\tstart_s\tend_s", "BIN\t0.1\t0.4")
    found, lacking, estimated = read_phones(tmp_path, utterances("s/a", "s/b"))
    assert [one.phone for one in found["s/b"]] == ["b", "ɪ", "n"] and estimated and not lacking
    assert found["s/b"][0].start_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("phone\tstart\tend", "b\t0\t1"), "a.tsv:1: header is phone, start, end; give phone"),
        (("phone\tstart_s\tend_s", "b\t0"), "a.tsv:2: list index"),
        (("phone\tstart_s\tend_s", "b\t0.2\t0.1"), "a.tsv:2: 'b' is from 0.2 to 0.1 s"),
        (("phone\tstart_s\tend_s", "Q7\t0\t1"), "a.tsv:2: unknown phones 'Q7'"),
        (("phone\tstart_s\tend_s", "b\tnan\t1"), "a.tsv:2: 'b' is from nan"),
    ],
)
def test_bad_phone_tables_are_refused(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    table(tmp_path / "a.tsv", *lines)
    with pytest.raises(ValueError, match=said):
        read_phones(tmp_path, utterances("a"))


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(ValueError, match="is empty of tables of phone or word times"):
        read_phones(tmp_path, utterances("a"))
