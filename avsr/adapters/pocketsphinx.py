"""CMU PocketSphinx with the US English models of its package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from avsr.adapters import Adapter, hashes_of
from avsr.noise import to_int16
from avsr.weights import one_line

JSGF = "#JSGF"  # a grammar's first word
KEY_PHRASE = re.compile(r"(?P<words>[^/]+?)(\s*/(?P<threshold>[^/]+)/)?\s*")


def load_pocketsphinx(grammar: Path | None = None) -> Adapter:
    """One decoding of the whole sound, with the package's own settings.

    Args:
        grammar: takes the language model's place: a JSGF grammar (its first public rule), or key
            phrases to spot, one a line, each maybe with its threshold as in ``bin blue /1e-20/``.
            Words must be in the package's dictionary, where a spelled letter is ``a.``.

    Raises:
        ValueError: the package is not installed; a grammar that does not parse, or with a word that
            the dictionary lacks.
    """
    if grammar is None:
        decoder, what = _decoder({}), "language model"
    else:
        what = grammar_kind(grammar)
        option = "jsgf" if what == "grammar" else "kws"
        decoder = _decoder({"lm": None, option: str(grammar.resolve())}, grammar)
        if what == "key phrases":
            _check_phrases(grammar, decoder)

    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        return [_text(decoder, to_int16(one)[0], what == "key phrases") for one in waveforms]

    used = {one: decoder.config[one] for one in ("hmm", "dict", "lm", "jsgf", "kws")}
    files = {option: Path(path) for option, path in used.items() if path}
    acoustic = files.pop("hmm")
    files |= {f"hmm/{one.name}": one for one in acoustic.iterdir() if one.is_file()}
    facts = {"pocketsphinx": version("pocketsphinx"), "decoding": what, **hashes_of(files)}
    name = "pocketsphinx" if grammar is None else f"pocketsphinx-{grammar.stem}"
    return Adapter(name, transcribe, facts)


def grammar_kind(path: Path) -> str:
    """``"grammar"`` for JSGF, else ``"key phrases"``.

    Raises:
        ValueError: not a text file, or an empty one.
    """
    text = _read(path)
    if not text.strip():
        raise ValueError(f"{path}: grammar is empty; give JSGF or one key phrase a line")
    return "grammar" if text.lstrip("\ufeff").startswith(JSGF) else "key phrases"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: grammar cannot be read as text ({one_line(error)})") from error


def _check_phrases(path: Path, decoder: Any) -> None:
    """PocketSphinx itself drops a phrase with an unknown word, or reads a bad threshold as 0."""
    for number, line in enumerate(_read(path).splitlines(), 1):
        found = KEY_PHRASE.fullmatch(line)
        if found is None or not _is_threshold(found["threshold"]):
            raise ValueError(
                f"{path}:{number}: {line!r} is no key phrase; write words, and maybe a threshold "
                "as in 'bin blue /1e-20/'"
            )
        for word in found["words"].split():
            if decoder.lookup_word(word) is None:
                raise ValueError(
                    f"{path}:{number}: word {word!r} is not in PocketSphinx's dictionary "
                    f"{decoder.config['dict']}; spell it as there"
                )


def _is_threshold(text: str | None) -> bool:
    try:
        return text is None or 0 < float(text) < float("inf")
    except ValueError:
        return False


def _decoder(options: dict[str, Any], grammar: Path | None = None) -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise ValueError(
            f"adapter 'pocketsphinx' needs its package ({error}); "
            "pip install 'avsr-learn2talk[recognisers]'"
        ) from error
    try:
        # It says ERROR on stderr for every sound without a word in it.
        return Decoder(loglevel="FATAL", **options)
    except RuntimeError as error:
        with TemporaryDirectory(prefix="avsr_pocketsphinx_") as folder:
            log = Path(folder) / "log"
            try:  # again, for the reason, which the exception does not tell
                Decoder(loglevel="ERROR", logfn=str(log), **options)
            except RuntimeError:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = lines[0].split(": ", 2)[-1] if lines else one_line(error)
        raise ValueError(
            f"{grammar or 'pocketsphinx'}: PocketSphinx cannot use it ({said})"
        ) from error


def _text(decoder: Any, samples: np.ndarray, spotted: bool) -> str:
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)  # cepstral mean over the whole sound
    decoder.end_utt()
    found = decoder.hyp()
    if found is None:  # no path through the grammar, or no phrase
        return ""
    if spotted:
        spots = sorted((one.start_frame, one.word) for one in decoder.seg())
        return " ".join(word for _, word in spots)
    text: str = found.hypstr
    return text
