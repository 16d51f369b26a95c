"""Any program as a recogniser, and every way in which it can go wrong."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from avsr.adapters import load_adapter
from avsr.files import sha256_file
from avsr.noise import to_int16

# Says of each sound: its first sample, the largest and how many; last line first.
PROGRAM = """
import sys, soundfile
lines = [line.split("\\t") for line in open(sys.argv[1]).read().splitlines()]
rows = []
for name, path in lines:
    assert soundfile.info(path).subtype == "PCM_16" and soundfile.info(path).samplerate == 16000
    samples = soundfile.read(path, dtype="int16")[0]
    rows.append(f"{name}\\t{samples[0]} {abs(samples.astype(int)).max()} {len(samples)}\\n")
open(sys.argv[2], "w").writelines(rows[::-1])
"""


def script(folder: Path, program: str) -> str:
    path = folder / "a recogniser.py"
    path.write_text(program)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {{list}} {{out}}"


def test_sounds_go_out_as_16_bit_files_and_texts_come_back(tmp_path: Path) -> None:
    adapter = load_adapter("command", command=script(tmp_path, PROGRAM))
    rng = np.random.default_rng(0)
    quiet = (0.01 * rng.standard_normal(2000)).astype(np.float32)
    loud = (3.0 * rng.standard_normal(1000)).astype(np.float32)
    told = adapter.transcribe([quiet, np.zeros(900, np.float32), loud])
    small, large = to_int16(quiet)[0], to_int16(loud)[0]
    assert told[0] == f"{small[0]} {abs(small.astype(int)).max()} 2000"
    assert told[1] == ""
    assert told[2] == f"{large[0]} 32767 1000"
    assert adapter.facts[f"sha256 {tmp_path}/a recogniser.py"] == sha256_file(
        tmp_path / "a recogniser.py"
    )
    assert adapter.batch > 8 and "{list}" in adapter.facts["command"]


WRITE = "import sys; open(sys.argv[2], 'wb').write({!r})"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('a\\nno model\\n', file=sys.stderr); sys.exit(3)", "exit code 3"),
        ("pass", "wrote nothing to {out}"),
        (WRITE.format(b""), "wrote no text for 2 of 2 sounds, first 000000"),
        (WRITE.format(b"000001\tb\n"), "wrote no text for 1 of 2 sounds, first 000000"),
        (WRITE.format(b"000000\ta\n000002\tb\n"), "the id '000002' in line 2, which was not asked"),
        (WRITE.format(b"000000\ta\n000000\tb\n"), "the id '000000' twice, again in line 2"),
        (WRITE.format(b"000000 a\n"), "line 1 without a tab, '000000 a'"),
        (WRITE.format(b"\xff\xfe"), "not UTF-8 text"),
    ],
)
def test_a_program_that_goes_wrong_is_named(tmp_path: Path, program: str, said: str) -> None:
    command = script(tmp_path, "import sys\nprint('last words', file=sys.stderr)\n" + program)
    sound = np.sin(np.arange(1000, dtype=np.float32))
    with pytest.raises(ValueError) as error:
        load_adapter("command", command=command).transcribe([sound, sound])
    text = str(error.value)
    assert said in text and repr(command) in text and "\n" not in text
    assert ("'no model'" if "exit code" in said else "'last words'") in text


def test_text_is_kept_as_it_is_and_may_be_empty(tmp_path: Path) -> None:
    command = script(tmp_path, WRITE.format("000000\t Ä, b!\t c\u2028d \n000001\t\n".encode()))
    sound = np.sin(np.arange(1000, dtype=np.float32))
    adapter = load_adapter("command", command=command)
    assert adapter.transcribe([sound, sound]) == ["Ä, b! c d", ""]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cat {list}", "has no {out}"),
        ("cat {out}", "has no {list}"),
        ("", "has no {list}"),
        ("cat '{list} {out}", "does not parse (No closing quotation)"),
        ("no_such_program_here {list} {out}", "there is no program 'no_such_program_here' to run"),
    ],
)
def test_command_lines_that_cannot_run_are_refused(command: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        load_adapter("command", command=command)
    assert said in str(error.value)
