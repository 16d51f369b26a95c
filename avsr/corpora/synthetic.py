"""The embedded default corpus, its speech half: sentences, speakers and espeak-ng's voice for them.

Everything here is synthetic and is called so wherever a figure made from it appears. The face that
belongs to it is made by ``learn2talk.corpora.synthetic``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avsr.corpora.espeak import Speech, Voice, speak
from avsr.schema import PhoneTime, WordTime
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

# GRID's six slots (Cooke, Barker, Cunningham, Shao, JASA 120(5) 2006). W is left out, as in GRID.
GRID_SLOTS: tuple[tuple[str, ...], ...] = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)

# The wider vocabulary: subject verb object place, with a determiner before each noun.
_DETERMINERS = ("the", "a", "my", "your", "every", "that", "this", "our")
_ADJECTIVES = (
    "big small old young happy quiet brave purple yellow wooden silver early foolish gentle "
    "heavy modern narrow perfect smooth warm bitter clever famous polite"
).split()
_SUBJECTS = (
    "teacher farmer baker mother father brother painter pilot captain doctor lawyer neighbour "
    "shopkeeper student visitor musician thief queen prince elephant rabbit monkey puppy fox "
    "bird family committee gardener fisherman officer"
).split()
_VERBS = (
    "found made bought washed carried painted moved opened fixed followed pushed buried "
    "borrowed measured dropped watched ignored lifted remembered wrapped polished chewed "
    "weighed forgot"
).split()
_OBJECTS = (
    "basket bottle map purse table window piano blanket mirror violin package apple pepper "
    "mushroom button camera feather jewel ladder lemon magazine onion umbrella vase wagon boat "
    "bicycle pillow television ribbon envelope coffee"
).split()
_PLACES = (
    ("near", "the", "church"),
    ("behind", "the", "farm"),
    ("by", "the", "river"),
    ("in", "the", "kitchen"),
    ("before", "breakfast"),
    ("after", "the", "movie"),
    ("above", "the", "bridge"),
    ("at", "the", "museum"),
    ("from", "the", "village"),
    ("over", "five", "months"),
    ("with", "both", "thumbs"),
    ("on", "a", "rough", "path"),
    ("without", "a", "map"),
    ("in", "february"),
    ("beside", "the", "fire"),
    ("outside", "the", "theatre"),
)

# How the engine is asked to say what it would otherwise take for another word (the letter "a") or
# join with its neighbour without times of its own ("in the").
_SPOKEN_LETTERS = {"a": "[[eI]]"}
_SPOKEN_WORDS = {"the": "[[D@2]]"}

# Phones that only the British and New York accents have, as the en-us phone nearest to them, which
# is what ``avsr.text.VISEMES`` knows.
_ACCENT_PHONES = {
    "əʊ": "oʊ",
    "əu": "oʊ",
    "ʌʊ": "oʊ",
    "ʉ": "u",
    "ʌʉ": "aʊ",
    "æʊ": "aʊ",
    "ei": "eɪ",
    "əɪ": "aɪ",
    "oɪ": "ɔɪ",
    "ʉɹ": "ʊɹ",
    "ʌɹ": "ɝ",
    "ʊə": "ʊɹ",
    "eə": "ɛɹ",
    "ɛə": "ɛɹ",
    "a:": "a",
    "ɑ̃": "ɑ",
}

# Variants that sound like people: whispering, robotic and echoing ones are left out. Each belongs
# to one speaker, so that speakers of two splits never share a timbre.
_VARIANTS = (
    "m1 f1 m3 f2 m7 f3 m2 f4 klatt steph Andrea m5 belinda klatt2 m6 Annie Lee f5 Mike klatt4 "
    "antonio linda quincy anika edward Denis steph2 Alex adam grandma travis michel pedro "
    "grandpa steph3 shelby m8 aunty rob victor"
).split()
_ACCENTS = (
    "en-us",
    "en",
    "en-us",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en",
    "en-gb-x-gbcwmd",
    "en-us-nyc",
)
MAX_SPEAKERS = len(_VARIANTS)


@dataclass(frozen=True)
class SyntheticSpeaker:
    """A speaker: a name and the engine's voice for it. ``index`` is its place in the fixed list."""

    speaker_id: str
    index: int
    voice: Voice


@dataclass(frozen=True)
class Sentence:
    """Written words, in lower case, and the way the engine is asked to say them."""

    words: tuple[str, ...]
    spoken: tuple[str, ...]

    @property
    def text(self) -> str:
        """The official text."""
        return " ".join(self.words)


@dataclass(frozen=True)
class SyntheticSpeech:
    """An utterance at 16 kHz: ``waveform`` float32 (640 T,) in [-1, 1] with its exact times."""

    waveform: np.ndarray
    phones: tuple[PhoneTime, ...]
    words: tuple[WordTime, ...]


def speakers(num_speakers: int, seed: int) -> list[SyntheticSpeaker]:
    """The first ``num_speakers`` speakers, rate and pitch drawn from ``seed``.

    Raises:
        ValueError: fewer than 3 (train, valid and test need one each) or more than
            ``MAX_SPEAKERS``.
    """
    if not 3 <= num_speakers <= MAX_SPEAKERS:
        raise ValueError(
            f"{num_speakers} synthetic speakers asked for; give 3 to {MAX_SPEAKERS} "
            "(train, valid and test share none)"
        )
    result = []
    for index in range(num_speakers):
        generator = np.random.default_rng((seed, index, 1))
        voice = Voice(
            name=f"{_ACCENTS[index % len(_ACCENTS)]}+{_VARIANTS[index]}",
            rate_wpm=int(generator.integers(115, 166)),
            pitch=int(generator.integers(32, 69)),
            pitch_range=int(generator.integers(30, 71)),
        )
        result.append(SyntheticSpeaker(f"synthetic{index:02d}", index, voice))
    return result


def split_speakers(people: Sequence[SyntheticSpeaker]) -> dict[str, list[SyntheticSpeaker]]:
    """Speakers of train, valid and test: disjoint, about an eighth each for valid and test.

    Raises:
        ValueError: fewer than 3 speakers.
    """
    if len(people) < 3:
        raise ValueError(f"{len(people)} speakers cannot fill 3 disjoint splits; give 3 or more")
    held_out = max(1, len(people) // 8)
    return {
        "train": list(people[: -2 * held_out]),
        "valid": list(people[-2 * held_out : -held_out]),
        "test": list(people[-held_out:]),
    }


def spoken_form(word: str) -> str:
    """How espeak-ng is asked to say a word, so that the letter "a" is not taken for the article."""
    return _SPOKEN_LETTERS.get(word, word)


def american_phone(phone: str) -> str:
    """The en-us phone nearest to one of another English accent; en-us phones as they are."""
    return _ACCENT_PHONES.get(phone, phone)


def grid_sentence(generator: np.random.Generator) -> Sentence:
    """A sentence of GRID's grammar: command colour preposition letter digit adverb."""
    words = tuple(str(generator.choice(slot)) for slot in GRID_SLOTS)
    return Sentence(words, tuple(map(spoken_form, words)))


def wide_sentence(generator: np.random.Generator) -> Sentence:
    """A sentence of the wider vocabulary: subject verb object place, about 170 words."""

    def noun_phrase(nouns: Sequence[str]) -> list[str]:
        phrase = [str(generator.choice(_DETERMINERS))]
        if generator.random() < 0.5:
            phrase.append(str(generator.choice(_ADJECTIVES)))
        phrase.append(str(generator.choice(nouns)))
        if phrase[0] == "a" and phrase[1][0] in "aeiou":
            phrase[0] = "an"
        return phrase

    words = [*noun_phrase(_SUBJECTS), str(generator.choice(_VERBS)), *noun_phrase(_OBJECTS)]
    words += _PLACES[int(generator.integers(len(_PLACES)))]
    return Sentence(tuple(words), tuple(_SPOKEN_WORDS.get(word, word) for word in words))


def say(
    sentence: Sentence, speaker: SyntheticSpeaker, generator: np.random.Generator
) -> SyntheticSpeech:
    """Speak a sentence: pauses before and after, a slightly varied rate, pitch, level and tone.

    Args:
        sentence: what.
        speaker: who.
        generator: draws the variation; the result is a function of the arguments and its state.

    Raises:
        ValueError: espeak-ng is not installed or lacks the speaker's voice.
    """
    base = speaker.voice
    voice = Voice(
        base.name,
        rate_wpm=int(round(base.rate_wpm * generator.uniform(0.94, 1.06))),
        pitch=int(np.clip(base.pitch + generator.integers(-4, 5), 0, 99)),
        pitch_range=base.pitch_range,
    )
    speech = speak(list(sentence.spoken), voice, words=list(sentence.words))
    before_s = float(generator.uniform(0.12, 0.32))
    after_s = float(generator.uniform(0.12, 0.32))
    waveform = _resampled(speech)
    waveform = _microphone(waveform, generator)
    lead = int(round(before_s * SAMPLE_RATE_HZ))
    spoken_samples = lead + len(waveform) + int(round(after_s * SAMPLE_RATE_HZ))
    num_samples = -(-spoken_samples // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME
    padded = np.zeros(num_samples, dtype=np.float32)
    padded[lead : lead + len(waveform)] = waveform
    # A room is never digitally silent: a floor about 60 dB below full scale.
    padded += (generator.standard_normal(num_samples) * 10 ** (-66 / 20)).astype(np.float32)
    offset_s = lead / SAMPLE_RATE_HZ
    return SyntheticSpeech(
        waveform=np.clip(padded, -1.0, 1.0),
        phones=tuple(
            PhoneTime(american_phone(p.phone), p.start_s + offset_s, p.end_s + offset_s)
            for p in speech.phones
        ),
        words=tuple(
            WordTime(w.word, w.start_s + offset_s, w.end_s + offset_s) for w in speech.words
        ),
    )


def _resampled(speech: Speech) -> np.ndarray:
    import torch
    from torchaudio.functional import resample

    waveform = torch.from_numpy(speech.waveform)
    return resample(waveform, speech.sample_rate_hz, SAMPLE_RATE_HZ).numpy()


def _microphone(waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Level, spectral tilt and a faint early reflection: another microphone and place."""
    tilt = float(generator.uniform(-0.25, 0.25))
    delay = int(generator.integers(30, 200))
    reflection = float(generator.uniform(0.0, 0.2))
    peak = float(generator.uniform(0.35, 0.8))
    coloured = waveform.copy()
    coloured[1:] += tilt * waveform[:-1]
    coloured[delay:] += reflection * waveform[:-delay]
    return (coloured * (peak / max(float(np.abs(coloured).max()), 1e-4))).astype(np.float32)
