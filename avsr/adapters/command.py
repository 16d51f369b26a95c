"""Any recogniser that can be run from the command line.

The sounds are written as 16-bit WAV files at 16 kHz, mono, and a list names them, ``id<TAB>path`` a
line, without a header. The command reads the list, whose path takes the place of ``{list}``, and
writes ``id<TAB>text`` a line, in any order, to the path in the place of ``{out}``::

    python my_recogniser.py --input {list} --output {out}

It is run without a shell: no pipes, no variables. A sound that would clip is scaled down.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from avsr.adapters import Adapter, hashes_of
from avsr.files import write_wav
from avsr.noise import to_int16
from avsr.weights import one_line

PLACES = ("{list}", "{out}")
BATCH = 256  # a command loads its model each time
LAST_BYTES = 1 << 16  # of stderr, in which its last line is looked for


def load_command(command: str) -> Adapter:
    """A command line as a recogniser; it is not run yet.

    Args:
        command: with ``{list}`` and ``{out}`` in it; quotes as in a shell.

    Raises:
        ValueError: no such program, an open quote, a missing placeholder.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(
            f"command {command!r} does not parse ({error}); close the quote"
        ) from error
    for place in PLACES:
        if not any(place in word for word in words):
            raise ValueError(f"command {command!r} has no {place}; write it where the path goes")
    program = shutil.which(words[0])
    if program is None:
        raise ValueError(
            f"command {command!r}: there is no program {words[0]!r} to run; give its path"
        )

    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        with TemporaryDirectory(prefix="avsr_command_") as folder:
            return _run(command, words, waveforms, Path(folder))

    named = {word: Path(word) for word in words[1:] if Path(word).is_file()}
    facts = {"command": command, **hashes_of({words[0]: Path(program), **named})}
    return Adapter(Path(words[0]).name, transcribe, facts, BATCH)


def _run(
    command: str, words: list[str], waveforms: Sequence[np.ndarray], folder: Path
) -> list[str]:
    listed, out, errors = folder / "list.tsv", folder / "out.tsv", folder / "stderr"
    sounds = {f"{number:06d}": folder / f"{number:06d}.wav" for number in range(len(waveforms))}
    for path, waveform in zip(sounds.values(), waveforms, strict=True):
        write_wav(path, to_int16(waveform)[0])
    listed.write_text("".join(f"{one}\t{path}\n" for one, path in sounds.items()), encoding="utf-8")
    filled = [word.replace("{list}", str(listed)).replace("{out}", str(out)) for word in words]
    with open(errors, "wb") as stream:
        try:
            done = subprocess.run(
                filled, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream
            )
        except OSError as error:
            raise ValueError(f"command {command!r} cannot be run ({one_line(error)})") from error

    def wrong(what: str) -> ValueError:
        return ValueError(f"command {command!r} {what}; its last words: {_last_line(errors)}")

    if done.returncode != 0:
        raise wrong(f"ended with exit code {done.returncode}")
    if not out.is_file():
        raise wrong("wrote nothing to {out}")
    texts: dict[str, str] = {}
    try:
        lines = out.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise wrong("wrote a file that is not UTF-8 text") from error
    for number, line in enumerate(lines if lines != [""] else [], 1):
        name, tab, text = line.partition("\t")
        if not tab:
            raise wrong(f"wrote line {number} without a tab, {line[:60]!r}, not id<TAB>text")
        if name not in sounds:
            raise wrong(f"wrote the id {name!r} in line {number}, which was not asked for")
        if name in texts:
            raise wrong(f"wrote the id {name!r} twice, again in line {number}")
        texts[name] = text
    missing = [name for name in sounds if name not in texts]
    if missing:
        raise wrong(f"wrote no text for {len(missing)} of {len(sounds)} sounds, first {missing[0]}")
    return [texts[name] for name in sounds]


def _last_line(path: Path) -> str:
    with open(path, "rb") as stream:
        stream.seek(max(0, path.stat().st_size - LAST_BYTES))
        lines = stream.read().decode("utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return repr(said[-1][-300:]) if said else "(nothing on stderr)"
