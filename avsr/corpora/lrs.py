"""What LRS2 and LRS3 share: label files, long clips cut at word times, the tokenizer.

A label file (facts from the corpora's pages and papers, arXiv:1809.00496 for LRS3):

    Text:  SO THE QUESTION IS
    Conf:  7

    WORD START END ASDSCORE
    SO 0.04 0.21 9.3

``Text`` is upper case; tags in braces such as ``{LG}`` are no speech. The table of word times, in
seconds of the clip, stands in every pretrain file; further header lines and tables may stand
before it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from avsr.corpora.clip_tracking import frame_edges
from avsr.corpora.clips import CorpusError, PrepareConfig, TalkingClip, skip
from avsr.corpora.parts import process_rank, wait_until
from avsr.corpora.talking_faces import prepare_talking_faces
from avsr.data.manifest import is_prepared
from avsr.files import write_atomically
from avsr.schema import WordTime
from avsr.text import normalise, train_tokenizer
from avsr.units import VIDEO_FPS

MARGIN_S = 0.2  # of sound and picture left around a piece, where the pause is long enough
TAGS = re.compile(r"\{[^{}]*\}|<[^<>]*>|\[[^\[\]]*\]")


@dataclass(frozen=True)
class LrsConfig:
    """What decides the utterances of a prepared LRS corpus.

    max_seconds: longest piece of a pretrain clip; 16 s are 400 frames, as is common for this data.
    vocabulary_size: SentencePiece unigram pieces wished for (1000 is the other common size).
    valid_share: of the trainval utterances of LRS3, whole talks, that become the validation split;
        0.04 of 31 982 is about the 1200 that the literature holds out. seed: of that choice.
    """

    max_seconds: float = 16.0
    vocabulary_size: int = 5000
    valid_share: float = 0.04
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_seconds < 1.0:
            raise CorpusError(f"max_seconds is {self.max_seconds}; give 1 or more")
        if self.vocabulary_size < 2:
            raise CorpusError(f"vocabulary_size is {self.vocabulary_size}; give 2 or more")
        if not 0.0 < self.valid_share < 1.0:
            raise CorpusError(f"valid_share is {self.valid_share}; give a share above 0, below 1")


@dataclass(frozen=True)
class Label:
    """A label file: normalised text, and word times where it has them."""

    text: str
    words: tuple[WordTime, ...]


def spoken(text: str) -> str:
    """Normalised words of a transcript, without tags such as ``{LG}``."""
    return normalise(TAGS.sub(" ", text))


def read_label(path: Path) -> Label:
    """Text and word times of a label file.

    Raises:
        CorpusError: no ``Text:`` line, or a line of the word table that makes no sense.
    """
    text, in_table = None, False
    words: list[WordTime] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8 text ({error.reason}); copy it again") from error
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if line.startswith("Text:") and text is None:
            text = line.removeprefix("Text:")
        elif fields[:3] == ["WORD", "START", "END"]:
            in_table = True
        elif in_table and fields:
            words.append(_word_time(fields, f"{path}:{number}", words))
    if text is None:
        raise CorpusError(f"{path}: has no line 'Text: ...'; copy it again")
    spelled = [replace(word, word=spoken(word.word)) for word in words]
    return Label(spoken(text), tuple(word for word in spelled if word.word))


def _word_time(fields: Sequence[str], where: str, before: Sequence[WordTime]) -> WordTime:
    try:
        start_s, end_s = float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        start_s, end_s = 1.0, 0.0
    last = before[-1].start_s if before else 0.0
    if not last <= start_s <= end_s < float("inf"):
        raise CorpusError(
            f"{where}: {' '.join(fields)!r} is not 'WORD START END ...' with ascending seconds; "
            "copy the file again"
        )
    return WordTime(fields[0], start_s, end_s)


def cut_at_words(
    words: Sequence[WordTime], max_seconds: float
) -> list[tuple[tuple[WordTime, ...], tuple[float, float]]]:
    """Pieces of a long clip: whole words, and the stretch in seconds that they are in.

    A piece takes words while it stays within ``max_seconds`` with its margins; where more follow,
    it ends at the widest pause of its second half. Around it are 0.2 s, or half the pause.

    Args:
        words: ascending starts.
        max_seconds: longest stretch; a single longer word is returned as it is.
    """
    pieces = []
    begin = 0
    while begin < len(words):
        start = _edge(words, begin)
        end = begin + 1
        while end < len(words) and _edge(words, end + 1, last=True) - start <= max_seconds:
            end += 1
        if end < len(words):
            half = begin + (end - begin + 1) // 2
            pauses = {k: words[k].start_s - words[k - 1].end_s for k in range(half, end + 1)}
            end = max(pauses, key=lambda k: (pauses[k], k))
        pieces.append((tuple(words[begin:end]), (start, _edge(words, end, last=True))))
        begin = end
    return pieces


def _edge(words: Sequence[WordTime], index: int, last: bool = False) -> float:
    """Where a piece that begins with word ``index`` begins, or one that ends before it ends."""
    if last:
        end = max(words[index - 1].end_s, words[index - 1].start_s + 0.04)
        pause = words[index].start_s - end if index < len(words) else 2 * MARGIN_S
        return end + max(0.0, min(MARGIN_S, pause / 2))
    start = words[index].start_s
    pause = start - words[index - 1].end_s if index else 2 * MARGIN_S
    return max(0.0, start - max(0.0, min(MARGIN_S, pause / 2)))


def read_film(
    film: TalkingClip, *, max_seconds: float
) -> tuple[list[TalkingClip], list[dict[str, Any]]]:
    """The utterances of a clip: pieces of a pretrain clip, else the clip as it is.

    See `avsr.corpora.clips.Expand`.

    Raises:
        CorpusError: a label file that is none, or a pretrain clip without word times.
    """
    label = read_label(film.path.with_suffix(".txt"))
    if not film.utterance_id.startswith("pretrain/"):
        agree = " ".join(word.word for word in label.words) == label.text
        return [replace(film, text=label.text, words=label.words if agree else ())], []
    if not label.words:
        raise CorpusError(f"{film.path}: its label has no word times to cut at; copy it again")
    clips, skipped = [], []
    for number, (words, span) in enumerate(cut_at_words(label.words, max_seconds)):
        name = f"{film.utterance_id}-{number:03d}"
        if span[1] - span[0] > max_seconds:
            reason = f"{film.path}: {words[0].word!r} alone lasts {span[1] - span[0]:.1f} s"
            skipped.append(skip(name, film.path, f"{reason}, max_seconds is {max_seconds}"))
            continue
        first_s = frame_edges(span)[0] / VIDEO_FPS  # the stretch begins with a whole frame
        moved = tuple(
            WordTime(w.word, round(w.start_s - first_s, 6), round(w.end_s - first_s, 6))
            for w in words
        )
        text = " ".join(word.word for word in words)
        clips.append(replace(film, utterance_id=name, text=text, words=moved, span_s=span))
    return clips, skipped


def prepare_lrs(
    name: str,
    root: Path,
    out: Path,
    clips: Sequence[TalkingClip],
    skipped: Sequence[dict[str, Any]],
    *,
    landmarker_model: Path | str,
    num_processes: int,
    config: PrepareConfig,
    lrs: LrsConfig,
    info: Mapping[str, Any],
    progress: bool,
    say: Callable[[str], None],
) -> Path:
    """Tokenizer, then tracking: what both corpora do once their films are listed."""
    model = b""
    if not is_prepared(out):
        model = shared_tokenizer(clips, out, lrs.vocabulary_size, say)
    test = {clip.speaker_id for clip in clips if clip.split == "test"}
    assert not test & {clip.speaker_id for clip in clips if clip.split == "train"}
    return prepare_talking_faces(
        clips,
        out,
        skipped=skipped,
        landmarker_model=landmarker_model,
        num_processes=num_processes,
        config=config,
        info={
            "name": name,
            "max_seconds": lrs.max_seconds,
            "vocabulary_size": lrs.vocabulary_size,
            **info,
        },
        expand=partial(read_film, max_seconds=lrs.max_seconds),
        tokenizer=model,
        progress=progress,
        say=say,
    )


def shared_tokenizer(
    clips: Sequence[TalkingClip], out: Path, vocabulary_size: int, say: Callable[[str], None]
) -> bytes:
    """SentencePiece (unigram) of the training texts in ``<out>/tokenizer.model``; rank 0 trains.

    Texts of films that later turn out to be unusable are among them.
    """
    path, facts = out / "tokenizer.model", out / "tokenizer.json"
    films = [clip.path for clip in clips if clip.split == "train"]
    wanted = json.dumps(
        {
            "vocabulary_size": vocabulary_size,
            "films": hashlib.sha256("\n".join(map(str, films)).encode()).hexdigest(),
        }
    )

    def ready() -> bool:
        return path.is_file() and facts.is_file() and facts.read_text() == wanted

    out.mkdir(parents=True, exist_ok=True)
    rank, _ = process_rank()
    if rank > 0:
        wait_until(ready, out, "rank 0 to train the tokenizer", say)
    elif not ready():
        say(f"{path}: training SentencePiece on the texts of {len(films)} clips")
        model = train_tokenizer(_texts(films), vocabulary_size, model_type="unigram")
        with write_atomically(path) as temporary:
            temporary.write_bytes(model)
        with write_atomically(facts) as temporary:
            temporary.write_text(wanted)
    return path.read_bytes()


def _texts(films: Iterable[Path]) -> Iterator[str]:
    for film in films:
        try:
            text = read_label(film.with_suffix(".txt")).text
        except CorpusError:
            continue  # the film is skipped, with this reason, when its turn comes
        if text:
            yield text
