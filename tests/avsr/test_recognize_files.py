"""Folders and lists of sounds to texts: order, resuming, and every bad input."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.adapters import ADAPTERS
from avsr.cli import COMMANDS
from avsr.command_line import run_commands
from avsr.files import MediaError, write_wav
from avsr.recognize_files import AdapterChoice, recognize_files
from avsr.sound_lists import Sound, list_sounds

# Says how many samples each sound has, and notes in a file that it was asked.
PROGRAM = """
import sys, wave
with open(sys.argv[1]) as listed, open(sys.argv[2], "w") as out:
    log = open(sys.argv[0] + ".log", "a")
    for line in listed:
        name, path = line.rstrip().split("\\t")
        frames = wave.open(path).getnframes()
        out.write(f"{name}\\t{frames} samples\\n")
        log.write(f"{frames}\\n")
"""


@pytest.fixture
def choice(tmp_path: Path) -> AdapterChoice:
    (tmp_path / "counts.py").write_text(PROGRAM)
    words = [sys.executable, str(tmp_path / "counts.py"), "{list}", "{out}"]
    return AdapterChoice("command", command=shlex.join(words), name="counts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in {"b/two": 2000, "a": 1000, "b/three": 3000, "c d": 4000}.items():
        write_wav(tmp_path / "sounds" / f"{name}.wav", rng.uniform(-0.5, 0.5, size))
    return tmp_path / "sounds"


ROWS = "a\t1000 samples\nb/three\t3000 samples\nb/two\t2000 samples\nc d\t4000 samples\n"


def asked(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "counts.py.log").read_text().split())


def test_a_folder_is_read_in_order(tmp_path: Path, folder: Path, choice: AdapterChoice) -> None:
    (folder / "notes.txt").write_text("no sound")
    write_wav(folder / ".hidden.wav", np.ones(700) / 2)
    out = tmp_path / "new" / "hyp.tsv"
    told = recognize_files(folder, choice, out)
    assert out.read_text() == ROWS
    assert told == dict(row.split("\t") for row in ROWS.splitlines())
    job = json.loads((tmp_path / "new" / "hyp.tsv.parts" / "job.json").read_text())
    assert job["recogniser"]["system"] == "counts" and job["sounds"]["count"] == 4


@pytest.mark.parametrize("header", ["", "id\tpath\n", "utterance_id\tpath\r\n"])
def test_a_list_gives_ids_and_order(
    tmp_path: Path, folder: Path, choice: AdapterChoice, header: str
) -> None:
    listed = folder / "list.tsv"
    listed.write_text(f"{header}second\tb/two.wav\n\nfirst\t{folder.resolve()}/a.wav\n")
    recognize_files(listed, choice, tmp_path / "hyp.tsv")
    assert (tmp_path / "hyp.tsv").read_text() == "second\t2000 samples\nfirst\t1000 samples\n"


def test_wav_scp_is_read_and_its_pipes_are_refused(folder: Path) -> None:
    listed = folder / "wav.scp"
    listed.write_text("u1 a.wav\nu2   c d.wav\n")
    assert list_sounds(listed) == [
        Sound("u1", folder / "a.wav"),
        Sound("u2", folder / "c d.wav"),
    ]
    listed.write_text("u1 a.wav\nu2 sph2pipe -f wav x.sph |\n")
    with pytest.raises(ValueError, match=r"wav.scp:2: 'u2' is the pipe 'sph2pipe -f wav x.sph \|'"):
        list_sounds(listed)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "names no sounds"),
        ("id\tpath\n", "names no sounds"),
        ("u\ta.wav\nu\tb/two.wav\nu\tc d.wav\n", "2 ids are there again, first 'u' for"),
        ("u\ta.wav\nv\tgone.wav\nw\tlost.wav\n", "2 of 3 files are missing, first"),
        ("u a.wav\n", "list.tsv:1: 'u a.wav' is not id<TAB>path"),
        ("u\ta.wav\tmore\n", "list.tsv:1: 'u\\ta.wav\\tmore' is not id<TAB>path"),
        ("u\ta.wav\n\tb/two.wav\n", "list.tsv:2:"),
        (b"\xff\xfe\x00", "is no list (not UTF-8 text)"),
    ],
)
def test_bad_lists_are_refused(folder: Path, lines: str | bytes, said: str) -> None:
    (folder / "list.tsv").write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    with pytest.raises(ValueError) as error:
        list_sounds(folder / "list.tsv")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert "missing" not in said or "gone.wav (id 'v')" in str(error.value)


def test_bad_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="no such folder or list"):
        list_sounds(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="names no sounds"):
        list_sounds(tmp_path / "empty")
    write_wav(folder / "a.flac", np.ones(700) / 2)  # a second sound "a"; its content is not read
    with pytest.raises(ValueError, match=r"1 ids are there again, first 'a' for .*a\.wav after"):
        list_sounds(folder)


def test_an_interrupted_command_goes_on(
    tmp_path: Path, folder: Path, choice: AdapterChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    import avsr.adapters.command

    monkeypatch.setattr(avsr.adapters.command, "BATCH", 2)
    good = (folder / "c d.wav").read_bytes()
    stat = (folder / "c d.wav").stat()
    (folder / "c d.wav").write_bytes(b"no sound".ljust(len(good)))
    os.utime(folder / "c d.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    out = tmp_path / "hyp.tsv"
    with pytest.raises(MediaError, match=r"c d\.wav: not readable as audio"):
        recognize_files(folder, choice, out)
    assert not out.exists() and asked(tmp_path) == ["1000", "3000"]
    (folder / "c d.wav").write_bytes(good)
    os.utime(folder / "c d.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    recognize_files(folder, choice, out)
    assert out.read_text() == ROWS
    assert asked(tmp_path) == ["1000", "2000", "3000", "4000"]  # each of them once
    (tmp_path / "hyp.tsv.parts" / "000001.tsv").write_text("b/two\tx\n")
    with pytest.raises(ValueError, match=r"000001.tsv: is not the part that was written"):
        recognize_files(folder, choice, out)


def test_parts_of_another_job_are_refused(
    tmp_path: Path, folder: Path, choice: AdapterChoice
) -> None:
    out = tmp_path / "hyp.tsv"
    recognize_files(folder, choice, out)
    other = AdapterChoice("command", command=choice.command, name="other")
    with pytest.raises(ValueError, match=r"another recogniser \(system is 'counts' there, 'other'"):
        recognize_files(folder, other, out)
    (tmp_path / "counts.py").write_text(PROGRAM + "# changed")
    with pytest.raises(ValueError, match=r"another recogniser \(sha256 .*counts.py is"):
        recognize_files(folder, choice, out)
    (tmp_path / "counts.py").write_text(PROGRAM)
    os.utime(folder / "a.wav", ns=(1, 1))  # written again, for example at another SNR
    with pytest.raises(ValueError, match="parts of other sounds"):
        recognize_files(folder, choice, out)
    assert out.read_text() == ROWS


def test_sounds_with_nothing_in_them_have_empty_texts(
    tmp_path: Path, choice: AdapterChoice
) -> None:
    for name, size in {"empty": 0, "short": 600, "silent": 9000}.items():
        write_wav(tmp_path / "sounds" / f"{name}.wav", np.zeros(size))
    recognize_files(tmp_path / "sounds", choice, tmp_path / "hyp.tsv")
    assert (tmp_path / "hyp.tsv").read_text() == "empty\t\nshort\t\nsilent\t\n"
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"")
    with pytest.raises(MediaError, match=r"broken.wav: file is empty \(0 bytes\)"):
        recognize_files(tmp_path / "sounds", choice, tmp_path / "other.tsv")


def test_two_processes_write_the_same(tmp_path: Path, folder: Path, choice: AdapterChoice) -> None:
    recognize_files(folder, choice, tmp_path / "hyp.tsv", processes=2)
    assert (tmp_path / "hyp.tsv").read_text() == ROWS
    assert asked(tmp_path) == ["1000", "2000", "3000", "4000"]
    assert len(list((tmp_path / "hyp.tsv.parts").glob("0*.tsv"))) == 2  # one each
    (folder / "a.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"a\.wav: not readable"):
        recognize_files(folder, choice, tmp_path / "other.tsv", processes=2)
    with pytest.raises(ValueError, match="processes 0 must be 1 or more"):
        recognize_files(folder, choice, tmp_path / "third.tsv", processes=0)


def test_one_thread_for_what_is_started(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "threads.py").write_text(
        "import os, sys\n"
        "rows = [line.split('\\t')[0] for line in open(sys.argv[1])]\n"
        "open(sys.argv[2], 'w').writelines("
        "f\"{row}\\t{os.environ['OMP_NUM_THREADS']}\\n\" for row in rows)\n"
    )
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "7"
    words = [sys.executable, str(tmp_path / "threads.py"), "{list}", "{out}"]
    try:
        told = recognize_files(
            folder, AdapterChoice("command", command=shlex.join(words)), tmp_path / "hyp.tsv"
        )
        assert set(told.values()) == {"1"} and os.environ["OMP_NUM_THREADS"] == "7"
    finally:
        os.environ["OMP_NUM_THREADS"] = before["OMP_NUM_THREADS"]


def test_the_command_takes_every_option(
    tmp_path: Path, folder: Path, choice: AdapterChoice, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: Any) -> None:
        arguments = ["recognize", str(folder), *map(str, words)]
        run_commands("avsr", "test", COMMANDS, arguments)

    out, command = tmp_path / "hyp.tsv", str(choice.command)
    run("--adapter", "command", "--command", command, "--out", out, "--processes", 1)
    assert f"{out}: 4 sounds, 0 of them without text" in capsys.readouterr().out
    assert out.read_text() == ROWS
    for words, said in (
        (["--adapter", "none"], f"'none' is not one of {', '.join(ADAPTERS)}"),
        (["--adapter", "ours"], "'ours' needs --model"),
        (["--adapter", "ours", "--model", tmp_path / "no.safetensors"], "no such weights file"),
        (["--adapter", "moonshine", "--grammar", "g"], "takes no option, but --grammar is 'g'"),
        (["--adapter", "command", "--command", command, "--name", "x"], "system is"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(*words, "--out", out)
        assert stop.value.code == 1 and said in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_can_be_run_by_itself(
    tmp_path: Path, folder: Path, recognizer_file: Path
) -> None:
    """The list that a command is given, and what it must write, are those of this command."""
    inner = ["-m", "avsr.cli", "recognize", "{list}", "--adapter", "ours", "--model"]
    words = [sys.executable, *inner, str(recognizer_file), "--out", "{out}"]
    told = recognize_files(
        folder, AdapterChoice("command", command=shlex.join(words)), tmp_path / "outer.tsv"
    )
    direct = recognize_files(
        folder, AdapterChoice("ours", recognizer_file), tmp_path / "direct.tsv"
    )
    assert told == direct and any(direct.values())
