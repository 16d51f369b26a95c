"""Recognisers under test, ours and other people's, as one function: waveforms in, texts out.

Light to import: a recogniser's own libraries are loaded with it, by :func:`load_adapter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from avsr import __version__
from avsr.units import SAMPLES_PER_FRAME

if TYPE_CHECKING:
    import numpy as np

Transcribe = Callable[[Sequence["np.ndarray"]], list[str]]

MIN_SAMPLES = SAMPLES_PER_FRAME  # 40 ms: nothing is said in less, and some recognisers fail on it
UNHEARD = "under 40 ms, or without any signal: empty text, the recogniser is not asked"


@dataclass(frozen=True)
class Adapter:
    """A recogniser that is ready to be asked.

    name: stands in the hypotheses as ``system``.
    transcribe: float32 waveforms (S,) at 16 kHz, of any level and length, to one raw text each, on
        one line; a text does not depend on the sounds that are given beside its own.
    facts: versions, SHA-256 of weights, decoding: goes into the result's provenance.
    batch: how many waveforms it likes at once.
    """

    name: str
    transcribe: Transcribe
    facts: Mapping[str, str]
    batch: int = 8


@dataclass(frozen=True)
class AdapterKind:
    """How a kind of recogniser is loaded: what it must be given, what it may be, and what that is.

    load: called with the options that were given, as keywords.
    """

    load: Callable[..., Adapter]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


def _ours(model: Path) -> Adapter:
    from avsr.adapters.ours import load_ours

    return load_ours(model)


def _transformers(model: Path) -> Adapter:
    from avsr.adapters.transformers_asr import load_transformers

    return load_transformers(model)


def _pocketsphinx(grammar: Path | None = None) -> Adapter:
    from avsr.adapters.pocketsphinx import load_pocketsphinx

    return load_pocketsphinx(grammar)


def _moonshine() -> Adapter:
    from avsr.adapters.moonshine import load_moonshine

    return load_moonshine()


def _command(command: str) -> Adapter:
    from avsr.adapters.command import load_command

    return load_command(command)


ADAPTERS: dict[str, AdapterKind] = {
    "ours": AdapterKind(_ours, needs=("model",)),
    "transformers": AdapterKind(_transformers, needs=("model",)),
    "pocketsphinx": AdapterKind(_pocketsphinx, takes=("grammar",)),
    "moonshine": AdapterKind(_moonshine),
    "command": AdapterKind(_command, needs=("command",)),
}
OPTIONS = {
    "model": "best.safetensors of a run ('ours') or a folder with config.json ('transformers')",
    "command": "a command line with {list} and {out} in it",
    "grammar": "a JSGF grammar or a file of key phrases",
}


def load_adapter(
    kind: str,
    model: Path | None = None,
    *,
    name: str | None = None,
    command: str | None = None,
    grammar: Path | None = None,
) -> Adapter:
    """Load a recogniser; no network is reached for other people's.

    Args:
        kind: one of ``ADAPTERS``.
        model: for "ours" ``best.safetensors`` or a folder of ``avsr publish``; for "transformers"
            the local folder of a checkpoint.
        name: in the hypotheses; ``None`` takes one from the kind and the model.
        command: for "command": a command line, see :mod:`avsr.adapters.command`.
        grammar: for "pocketsphinx": a JSGF grammar or a key phrase file in place of the language
            model.

    Returns:
        The adapter; a sound under 40 ms, or without any signal, gives an empty text.

    Raises:
        ValueError: an unknown kind, an option that the kind does not take or lacks, files that
            cannot be read, a package that is not installed.
    """
    if kind not in ADAPTERS:
        raise ValueError(f"adapter {kind!r} is not one of {', '.join(ADAPTERS)}")
    chosen = ADAPTERS[kind]
    asked = {"model": model, "command": command, "grammar": grammar}
    given = {option: value for option, value in asked.items() if value is not None}
    for option in chosen.needs:
        if option not in given:
            raise ValueError(f"adapter {kind!r} needs --{option}: {OPTIONS[option]}")
    for option, value in given.items():
        if option not in chosen.needs + chosen.takes:
            known = ", ".join(f"--{one}" for one in chosen.needs + chosen.takes) or "no option"
            raise ValueError(
                f"adapter {kind!r} takes {known}, but --{option} is {str(value)!r}; leave it away"
            )
    if name is not None and (not name.strip() or len(name.splitlines()) > 1):
        raise ValueError(f"name {name!r} of a system must be one line with a letter in it")
    loaded = chosen.load(**given)
    return replace(
        loaded,
        name=name or loaded.name,
        transcribe=partial(transcribe_heard, loaded.transcribe),
        facts={"adapter": kind, "avsr": __version__, "unheard": UNHEARD, **loaded.facts},
    )


def transcribe_heard(transcribe: Transcribe, waveforms: Sequence[np.ndarray]) -> list[str]:
    """One line of text for each waveform; sounds with nothing to hear are not passed on.

    Args:
        transcribe: of a recogniser.
        waveforms: float (S,) each, S may be 0.

    Raises:
        ValueError: a waveform that is not one-dimensional, not float or not finite; another number
            of texts than of sounds.
    """
    import numpy as np

    from avsr.noise import SILENCE_RMS, signal_power

    heard: list[int] = []
    for number, samples in enumerate(waveforms):
        if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
            raise ValueError(
                f"waveform {number} has shape {samples.shape} and type {samples.dtype}; give "
                "finite float samples (S,), mono at 16 kHz"
            )
        if len(samples) >= MIN_SAMPLES and signal_power(samples) > SILENCE_RMS**2:
            heard.append(number)
    texts = [""] * len(waveforms)
    asked = [np.ascontiguousarray(waveforms[number], np.float32) for number in heard]
    found = transcribe(asked) if asked else []
    if len(found) != len(asked):
        raise ValueError(f"the recogniser gave {len(found)} texts for {len(asked)} sounds")
    for number, text in zip(heard, found, strict=True):
        texts[number] = " ".join(text.split())
    return texts


def hashes_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Facts ``sha256 <name>`` of files, by name."""
    from avsr.files import sha256_file

    return {f"sha256 {name}": sha256_file(files[name]) for name in sorted(files)}
