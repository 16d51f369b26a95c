"""espeak-ng through its C API: text to waveform with the times of its phones and words.

The library and its voices come inside the ``espeakng-loader`` wheel; nothing is installed or
downloaded. The C API keeps its state in globals that its own reset leaves untouched (glottal noise,
phase). So the library is loaded afresh for each text, about 3 ms, which makes the waveform a
function of the arguments alone; a lock keeps the threads of one process apart, and processes do not
see each other.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from avsr.schema import PhoneTime, WordTime

# Constants of espeak-ng's speak_lib.h (API revision 12).
_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DO_NOT_EXIT = 0x0001, 0x0002, 0x8000
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_POSITION_CHARACTER = 1
_CHARS_UTF8, _CHARS_PHONEMES = 0x0001, 0x0100
_EVENT_END_OF_LIST, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7

_STRESS_AND_LENGTH = str.maketrans("", "", "ˈˌː̩͡")
_STOPS = frozenset("pbtdkɡ")
_SILENT_LEVEL = 8  # of 32768: the closure of a voiceless stop is digital silence in espeak's output
_MAX_CLOSURE_S = 0.09
_lock = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """A voice of the engine.

    ``name`` is espeak-ng's ``language+variant``; ``rate_wpm`` words a minute (80-450); ``pitch``
    and ``pitch_range`` 0-99, where 50 is the variant's own.
    """

    name: str
    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True)
class Speech:
    """What the engine said: ``waveform`` float32 (S,) in [-1, 1] at ``sample_rate_hz``, and its
    times.

    ``phones`` are IPA without stress and length marks, in order, without overlap, inside the
    waveform; a stop's span begins with its closure. Pauses are the gaps between them.
    """

    waveform: np.ndarray
    sample_rate_hz: int
    phones: tuple[PhoneTime, ...]
    words: tuple[WordTime, ...]


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class _Mark:
    """A word or phoneme event: the sample where it begins, the character that it belongs to."""

    is_word: bool
    sample: int
    character: int
    phone: str


class _Engine:
    """The engine, loaded for the length of a ``with`` block under this module's lock."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ValueError(
                "the synthetic corpus needs espeak-ng, which is not installed; "
                "run 'pip install espeakng-loader'"
            ) from error
        _seed_c_library()
        self.library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self.data = Path(espeakng_loader.get_data_path())
        self.sample_rate_hz: int = self.library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS,
            0,
            str(self.data).encode(),
            _PHONEME_EVENTS | _PHONEME_IPA | _DO_NOT_EXIT,
        )
        if self.sample_rate_hz <= 0:
            raise ValueError(
                f"espeak-ng did not start (code {self.sample_rate_hz}) with the voices in "
                f"{self.data}; reinstall espeakng-loader"
            )
        self._chunks: list[np.ndarray] = []
        self._marks: list[_Mark] = []
        self._callback = _Callback(self._receive)  # kept: C holds the only other reference
        self.library.espeak_SetSynthCallback(self._callback)

    def __enter__(self) -> _Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.library.espeak_Terminate()
        if sys.platform != "win32":
            import _ctypes

            _ctypes.dlclose(self.library._handle)  # the only way to forget the globals

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END_OF_LIST:
            event = events[index]
            if event.type in (_EVENT_WORD, _EVENT_PHONEME):
                is_word = event.type == _EVENT_WORD
                # The name fills up to 8 bytes and lacks its final zero when it fills them all.
                name = b"" if is_word else ctypes.string_at(ctypes.addressof(event.id), 8)
                phone = name.split(b"\0")[0].decode("utf-8", "ignore")
                self._marks.append(
                    _Mark(is_word, event.sample, max(event.text_position - 1, 0), phone)
                )
            index += 1
        return 0

    def say(self, text: str, voice: Voice) -> tuple[np.ndarray, list[_Mark]]:
        variant = voice.name.partition("+")[2]  # the engine passes over an unknown one in silence
        known = not variant or (self.data / "voices" / "!v" / variant).is_file()
        if not known or self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(
                f"espeak-ng has no voice {voice.name!r}; give language+variant such as 'en-us+f3'"
            )
        for parameter, value in (
            (_RATE, voice.rate_wpm),
            (_PITCH, voice.pitch),
            (_PITCH_RANGE, voice.pitch_range),
        ):
            self.library.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._marks = [], []
        data = text.encode()
        flags = _CHARS_UTF8 | _CHARS_PHONEMES
        code = self.library.espeak_Synth(
            data, len(data) + 1, 0, _POSITION_CHARACTER, 0, flags, None, None
        )
        self.library.espeak_Synchronize()
        if code != 0 or not self._chunks:
            raise ValueError(
                f"espeak-ng said nothing for {text!r} with voice {voice.name} ({code})"
            )
        return np.concatenate(self._chunks), self._marks


def _seed_c_library() -> None:
    # The engine draws its breath noise from the C library's rand().
    (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).srand(1)


def speak(spoken: list[str], voice: Voice, *, words: list[str] | None = None) -> Speech:
    """Say a sequence of words.

    Args:
        spoken: what the engine reads, one entry a word; ``[[eI]]`` gives espeak's own phonemes.
        voice: who says it.
        words: the written words that ``Speech.words`` reports; ``spoken`` by default.

    Raises:
        ValueError: espeak-ng is not installed, lacks the voice, or said nothing; or the lists
            differ.
    """
    written = spoken if words is None else words
    if len(written) != len(spoken) or not spoken:
        raise ValueError(
            f"{len(spoken)} spoken words for {len(written)} written ones; "
            "give the same number, 1 or more"
        )
    # Starts of the words in the text; a text_position beyond the last start belongs to the last
    # word.
    starts = np.cumsum([0] + [len(word) + 1 for word in spoken[:-1]])
    with _lock, _Engine() as engine:
        samples, marks = engine.say(" ".join(spoken), voice)
    owners = [int(np.searchsorted(starts, mark.character, side="right")) - 1 for mark in marks]
    phones = _phone_spans(samples, marks, owners, engine.sample_rate_hz)
    rate = engine.sample_rate_hz
    word_times = []
    for index, word in enumerate(written):
        spans = [(start, end) for start, end, _, owner in phones if owner == index]
        if spans:
            word_times.append(WordTime(word, spans[0][0] / rate, spans[-1][1] / rate))
    return Speech(
        waveform=(samples / 32768.0).astype(np.float32),
        sample_rate_hz=rate,
        phones=tuple(PhoneTime(name, start / rate, end / rate) for start, end, name, _ in phones),
        words=tuple(word_times),
    )


def _phone_spans(
    samples: np.ndarray, marks: list[_Mark], owners: list[int], sample_rate_hz: int
) -> list[tuple[int, int, str, int]]:
    """(start, end, phone, word index) in samples, in order and without overlap.

    A phoneme event of a stop stands at its burst. Its closure is given back to it: from the word
    event, where the stop begins a word, else as far as the samples before the burst are silent.
    """
    spans: list[tuple[int, int, str, int]] = []
    longest_closure = int(_MAX_CLOSURE_S * sample_rate_hz)
    word_start, after_pause = -1, True
    for mark, owner in zip(marks, owners, strict=True):
        burst = min(mark.sample, len(samples))
        if mark.is_word:
            word_start = burst
            continue
        phone = mark.phone.translate(_STRESS_AND_LENGTH)
        start = burst
        if spans and not after_pause:
            earliest = spans[-1][0] + sample_rate_hz // 100  # leaves the previous phone 10 ms
            if 0 <= word_start < burst and owner != spans[-1][3]:
                start = word_start
            elif phone[:1] in _STOPS:
                start = _closure_start(samples, burst, max(earliest, burst - longest_closure))
            start = min(max(start, earliest), burst)
            spans[-1] = (spans[-1][0], start, *spans[-1][2:])
        elif 0 <= word_start < burst and phone[:1] in _STOPS:
            start = word_start
        after_pause = not phone
        if phone:
            spans.append((start, len(samples), phone, owner))
            word_start = -1
    return [span for span in spans if span[1] > span[0]]


def _closure_start(samples: np.ndarray, burst: int, earliest: int) -> int:
    start = burst
    # The burst itself may begin a little before its event: look for silence within 5 ms of it.
    loud = np.abs(samples[earliest:burst].astype(np.int32)) > _SILENT_LEVEL
    quiet = np.flatnonzero(~loud[-110:])
    if len(quiet) == 0:
        return start
    start = burst - min(110, len(loud)) + int(quiet[-1])
    while start > earliest and abs(int(samples[start - 1])) <= _SILENT_LEVEL:
        start -= 1
    return start
