"""Text: the one versioned normaliser, the SentencePiece tokenizer, and the phone-to-viseme table.

Opens no file: a SentencePiece model travels as bytes, and the caller stores them.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

NORMALISER_VERSION = "1"
BLANK_ID = 0  # CTC blank; SentencePiece piece k is token k + 1
UNKNOWN_SURFACE = "\u2047"

ModelType = Literal["bpe", "unigram", "word", "char"]
MODEL_TYPES: tuple[str, ...] = get_args(ModelType)

# Characters that typists use for an apostrophe; NFKC leaves them all apart.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u02b9\u2032\u00b4`", "'"))


def normalise(text: str) -> str:
    """Frozen normaliser, version ``NORMALISER_VERSION``, for references and hypotheses alike.

    Unicode NFKC; lower case; an apostrophe stays inside a word (``don't``) and goes elsewhere; all
    other punctuation, symbols and separators become spaces; invisible format characters (soft
    hyphen, zero-width joiner) vanish; white space collapses. Digits stay as they are given: ``3``
    is not turned into ``three``, and a corpus that mixes the two must spell them out before.
    Applying it twice changes nothing.

    Raises:
        ValueError: not a ``str``.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"text to normalise is {text!r} ({type(text).__name__}), not a string; pass a sentence"
        )
    # Apostrophes before NFKC, which would turn an acute accent into a space and a combining mark.
    folded = text.translate(_APOSTROPHES)
    # Lower-casing can undo the composed form and the reverse, hence the second round.
    for _ in range(2):
        folded = unicodedata.normalize("NFKC", folded).lower()
    kept = []
    for character in folded.translate(_APOSTROPHES):
        category = unicodedata.category(character)
        if category[0] in "LN" or character == "'":
            kept.append(character)
        elif category[0] == "M" and kept and kept[-1] not in " '":
            kept.append(character)  # an accent belongs to the letter before it
        elif category != "Cf":
            kept.append(" ")
    words = (_trim(word) for word in "".join(kept).split())
    joined = " ".join(word for word in words if word)
    return unicodedata.normalize("NFKC", joined)


def _trim(word: str) -> str:
    """The word without apostrophes at its edges; several inside a word count as one."""
    return "'".join(part for part in word.split("'") if part)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, model_type: ModelType = "bpe"
) -> bytes:
    """Train SentencePiece on normalised sentences; the same sentences give the same bytes.

    Args:
        texts: sentences; each goes through :func:`normalise`; empty ones are refused.
        vocab_size: wished number of pieces, unknown included, CTC blank not; an upper limit, as
            SentencePiece stops where the text holds no more pieces.
        model_type: ``"bpe"``, ``"unigram"``, ``"word"`` or ``"char"``.

    Example: on GRID's 700 training sentences (51 words, 25 of them letters) ``"bpe"`` makes every
    word and every letter one piece from ``vocab_size=124`` on (51 of 51; 33 at 100, 50 at 120; it
    ends at 200 pieces) and can still spell other words; ``"unigram"`` never passes 52 pieces and
    leaves 39 words in parts; ``"word"`` needs 52 pieces and reads any other word as unknown.

    Returns:
        The serialised model, for :class:`Tokenizer`.

    Raises:
        ValueError: no sentence, an empty sentence (its index), an unknown ``model_type``, or a
            ``vocab_size`` below the number of characters.
    """
    import sentencepiece

    if model_type not in MODEL_TYPES:
        raise ValueError(f"model_type {model_type!r} is not one of {', '.join(MODEL_TYPES)}")
    sentences = [normalise(text) for text in texts]
    if not sentences:
        raise ValueError("no sentence to train a tokenizer on; pass the training set's texts")
    for index, sentence in enumerate(sentences):
        if not sentence:
            raise ValueError(f"training text {index} is empty once normalised; remove it")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=model_type,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            byte_fallback=False,
            normalization_rule_name="identity",  # normalise() is the only normaliser
            # The default of 4192 bytes skips longer sentences without a word; 10 is its least.
            max_sentence_length=max(10, 1 + max(len(sentence.encode()) for sentence in sentences)),
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # more would make the result depend on their timing
            minloglevel=2,
        )
    except RuntimeError as error:
        characters = len(set("".join(sentences)))
        raise ValueError(
            f"SentencePiece refused vocab_size={vocab_size}, model_type={model_type!r} for "
            f"{len(sentences)} sentences with {characters} characters ({error}); "
            f"give a vocab_size above {characters + 1}"
        ) from error
    return model.getvalue()


class Tokenizer:
    """SentencePiece with CTC's blank in front: id 0 is blank, id 1 unknown, piece k is id k + 1.

    Args:
        model: serialised SentencePiece model, as :func:`train_tokenizer` returns it.

    Raises:
        ValueError: the bytes are not a SentencePiece model.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = bytes(model)
        self._pieces = sentencepiece.SentencePieceProcessor()
        # An empty protocol buffer parses, so emptiness needs its own question.
        try:
            loaded = bool(self.model) and self._pieces.LoadFromSerializedProto(self.model)
        except RuntimeError:
            loaded = False
        if not loaded or self._pieces.get_piece_size() == 0:
            raise ValueError(
                f"{len(self.model)} bytes are not a SentencePiece model; "
                "pass what train_tokenizer returned"
            )
        self._known_characters = {
            character for index in range(self.size - 1) for character in self._piece(index)
        }

    def _piece(self, index: int) -> str:
        return "" if self._pieces.is_unknown(index) else self._pieces.id_to_piece(index)

    @property
    def size(self) -> int:
        """Number of classes, blank included: K of the CTC logits."""
        return int(self._pieces.get_piece_size()) + 1

    @property
    def unknown_id(self) -> int:
        """Id that stands for anything outside the vocabulary."""
        return int(self._pieces.unk_id()) + 1

    def encode(self, text: str) -> list[int]:
        """Token ids (1 .. size - 1, never blank) of a text, which is normalised first.

        Characters outside the vocabulary become ``unknown_id``; :meth:`unknown_characters` names
        them.
        """
        return [piece + 1 for piece in self._pieces.encode(normalise(text))]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; an unknown token shows as U+2047.

        Raises:
            ValueError: an id is blank or outside the vocabulary; the message gives it.
        """
        for position, token in enumerate(ids):
            if not 0 < token < self.size:
                raise ValueError(
                    f"token {token} at position {position} is not in 1..{self.size - 1}; "
                    "remove CTC blanks and repeats before decoding"
                )
        text = self._pieces.decode([int(token) - 1 for token in ids])
        return " ".join(text.split())

    def unknown_characters(self, text: str) -> dict[str, int]:
        """Characters of the normalised text that no piece holds, with their counts."""
        counts: dict[str, int] = {}
        for character in normalise(text):
            if character != " " and character not in self._known_characters:
                counts[character] = counts.get(character, 0) + 1
        return counts


def ctc_frames(tokens: Sequence[int]) -> int:
    """Fewest frames that a CTC path of ``tokens`` needs: one each, and a blank between repeats."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:]))  # noqa: B905


def text_problem(text: str, num_frames: int | None, tokenizer: Tokenizer | None) -> str | None:
    """Why CTC cannot learn ``text`` from ``num_frames`` frames; ``None`` where it can.

    Args:
        text: the reference.
        num_frames: of the utterance, ``None`` = not known yet.
        tokenizer: ``None`` = not known yet; only an empty text is found then.
    """
    if not normalise(text):
        return f"text {text!r} is empty once normalised; there is nothing to learn or to score"
    if tokenizer is None:
        return None
    unknown = tokenizer.unknown_characters(text)
    if unknown:
        return (
            f"text {text!r} has characters outside the vocabulary: {' '.join(unknown)}; spell them "
            "out, or train a tokenizer on texts that have them"
        )
    tokens = tokenizer.encode(text)
    if num_frames is not None and ctc_frames(tokens) > num_frames:
        return (
            f"text {text!r} has {len(tokens)} tokens and {ctc_frames(tokens) - len(tokens)} "
            f"repeats for {num_frames} frames: no CTC path exists; is the text of another clip?"
        )
    return None


SILENCE_VISEME = "sil"
_VISEME_ROWS: tuple[tuple[str, str, str, str], ...] = (
    # Viseme and first column: Amazon Polly developer guide, "English (US) (en-US)", phoneme and
    # viseme table (docs.aws.amazon.com/polly/latest/dg/ph-table-english-us.html; all 41 phones also
    # compared with the edition in github.com/awsdocs/amazon-polly-developer-guide, 41985ab). It
    # gives /l/ its own viseme; that edition and the other English tables put it with t d n. Second
    # column: further phones of espeak-ng's English voices, as Polly's en-GB table has them (ɒ ɛə
    # əʊ ʊə ɪə), else by the phone that the lips are nearest to at the start. Third: ARPAbet.
    ("p", "p b m", "m̩", "P B M EM"),
    ("t", "t d n", "ɾ n̩ t̪", "T D N EN DX"),
    ("l", "l", "ɫ l̩ ɬ", "L EL"),
    ("f", "f v", "", "F V"),
    ("T", "θ ð", "", "TH DH"),
    ("s", "s z", "", "S Z"),
    ("S", "ʃ ʒ tʃ dʒ", "", "SH ZH CH JH"),
    ("k", "k ɡ ŋ h", "g x ʔ ç", "K G NG HH"),
    ("r", "ɹ", "r", "R"),
    ("i", "j i ɪ", "ʲ ᵻ ɨ iə ɪə ɪɹ iɹ", "Y IY IH IX"),
    ("u", "w u ʊ", "ʍ ʉ ʊə ʊɹ ʉɹ", "W WH UW UH"),
    ("@", "ə ɚ", "ɐ əl əɹ əɪ əʊ əu", "AX AXR AH0 ER0"),
    ("a", "æ aɪ aʊ ɑ", "a aa ɑə æʊ aɪə aɪɚ aʊə aʊɚ ɑɹ", "AE AY AW AA"),
    ("e", "eɪ", "e ei", "EY"),
    ("E", "ɝ ɛ ʌ", "ɜ ɛə eə ɛɹ eɹ ʌɹ ʌʊ ʌʉ", "ER EH AH"),
    ("o", "oʊ", "", "OW"),
    ("O", "ɔ ɔɪ", "o ɒ oɪ oə ɔə oɹ ɔɹ ɔɪə", "AO OY"),
)
_SILENCES = ("", "sil", "SIL", "sp", "SP", "spn", "SPN", "pau", "_", "_:", "_|", "#")
VISEME_NAMES: tuple[str, ...] = (SILENCE_VISEME, *(row[0] for row in _VISEME_ROWS))
VISEMES: dict[str, str] = {
    **{phone: row[0] for row in _VISEME_ROWS for phone in " ".join(row[1:]).split()},
    **dict.fromkeys(_SILENCES, SILENCE_VISEME),
}
"""Phone (IPA without stress, length and ties, or ARPAbet) to viseme name."""

# Stress, length, syllable edges, affricate ties and espeak's liaison marks do not change the lips.
_IGNORED_MARKS = str.maketrans("", "", "ˈˌːˑ:.͜͡'ʰ̃‿-")


def phone_to_viseme(phone: str) -> str:
    """Amazon Polly en-US viseme of one phone, by the lips' shape at its start for a diphthong.

    Args:
        phone: IPA as espeak-ng's English voices write it (``"ˈaɪ"``, ``"uː"``, ``"tʃ"``), ARPAbet
            with or without stress digit (``"AH0"``), or a silence (``"sil"``, ``"sp"``, ``""``).

    Returns:
        One of ``VISEME_NAMES``.

    Raises:
        ValueError: the phone is in neither table.
    """
    return phones_to_visemes([phone])[0]


def phones_to_visemes(phones: Iterable[str]) -> list[str]:
    """Visemes of a phone sequence, one each (see :func:`phone_to_viseme`).

    Raises:
        ValueError: phones in neither table; the message lists all of them.
    """
    visemes: list[str] = []
    unknown: dict[str, None] = {}
    for phone in phones:
        viseme = VISEMES.get(phone) or VISEMES.get(_bare(phone))
        if viseme is None:
            unknown[phone] = None
        else:
            visemes.append(viseme)
    if unknown:
        raise ValueError(
            f"unknown phones {', '.join(map(repr, unknown))}; "
            "give espeak-ng's English IPA or ARPAbet, or add them to the table in avsr/text.py"
        )
    return visemes


def _bare(phone: str) -> str:
    bare = phone.translate(_IGNORED_MARKS)
    return bare.rstrip("012") if bare.isascii() and bare[:-1].isupper() else bare
