"""Language models beside the recogniser's own scores: what a search needs of one.

:class:`avsr.models.language_model.TransformerLanguageModel` is one; :class:`WordLanguageModel`
makes one of any causal language model of transformers, whatever its vocabulary.
"""

# R rows, U tokens, K the recogniser's vocabulary, V the language model's

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class LanguageModel(Protocol):
    """Scores of the next token for many hypotheses; token 0 begins and ends a sentence."""

    def start(self, batch: int, /) -> Any:
        """State of ``batch`` rows before their first token."""
        ...

    def step(self, state: Any, tokens: Tensor, /) -> tuple[Tensor, Any]:
        """Log probabilities (R, K), none above 0, after the newest tokens int (R,)."""
        ...

    def reorder(self, state: Any, index: Tensor, /) -> Any:
        """Row r goes on from row ``index[r]``; there may be fewer or more rows than before."""
        ...


@dataclass(frozen=True)
class _Row:
    """One hypothesis."""

    tokens: tuple[int, ...] = ()
    paid: str = ""  # the text whose log probability has been added already


class WordLanguageModel:
    """A causal language model with its own tokenizer, asked at the ends of words.

    The two vocabularies cut words differently, so the score is that of the text: the token that
    begins a new word, or ends the sentence, brings log P(text so far) - log P(text up to the word
    before), tokens within a word bring 0. Over a whole sentence this sums to the language model's
    log probability of its text and of the end. The language model's tokenizer must not cut across
    words, else a score above 0 could follow and the search end too early; those of GPT-2's and
    Llama's kind do not. Texts are computed in one batch a step, without a cache of keys, and each
    text once.

    Args:
        model: takes ``input_ids`` and ``attention_mask`` (R, U), gives ``.logits`` (R, U, V), for
            example ``transformers.AutoModelForCausalLM``; in eval mode.
        text_to_ids: the language model's tokenizer, without special tokens.
        begin_id: its token before a sentence.
        end_id: its token after a sentence.
        ids_to_text: the recogniser's tokenizer, for ids in [1, K).
        vocabulary_size: K.
    """

    def __init__(
        self,
        model: Any,
        text_to_ids: Callable[[str], Sequence[int]],
        *,
        begin_id: int,
        end_id: int,
        ids_to_text: Callable[[Sequence[int]], str],
        vocabulary_size: int,
    ) -> None:
        self.model, self.text_to_ids, self.ids_to_text = model, text_to_ids, ids_to_text
        self.begin_id, self.end_id = begin_id, end_id
        # Twice the same piece: two words, or (a bare word mark) none.
        twice = [ids_to_text([k, k]) for k in range(1, vocabulary_size)]
        self.starts_word = torch.tensor([True, *(not text or " " in text for text in twice)])
        self._scores: dict[str, tuple[float, float]] = {}

    def start(self, batch: int) -> tuple[_Row, ...]:
        """Rows before their first token; forgets the texts of the search before."""
        self._scores = {}
        return (_Row(),) * batch

    @torch.no_grad()
    def step(self, state: tuple[_Row, ...], tokens: Tensor) -> tuple[Tensor, tuple[_Row, ...]]:
        """See :class:`LanguageModel`."""
        rows, texts = [], []
        for row, token in zip(state, tokens.tolist(), strict=True):
            if token:
                # What stood before a new word has been paid for by the token that begins it.
                paid = self.ids_to_text(row.tokens) if self.starts_word[token] else row.paid
                row = _Row((*row.tokens, token), paid)
            rows.append(row)
            texts.append(self.ids_to_text(row.tokens))
        self._score([*texts, *(row.paid for row in rows)])
        out = torch.zeros(len(rows), len(self.starts_word))
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            text_score, end_score = self._scores[text]
            word_score = text_score - self._scores[row.paid][0]
            out[number, self.starts_word] = word_score
            out[number, 0] = word_score + end_score
        return out.to(tokens.device), tuple(rows)

    def reorder(self, state: tuple[_Row, ...], index: Tensor) -> tuple[_Row, ...]:
        """See :class:`LanguageModel`."""
        return tuple(state[number] for number in index.tolist())

    def _score(self, texts: Sequence[str]) -> None:
        """Keep the log probability of each text, and of the sentence's end after it."""
        new = [text for text in dict.fromkeys(texts) if text not in self._scores]
        if not new:
            return
        ids = [[self.begin_id, *self.text_to_ids(text)] for text in new]
        device = next(self.model.parameters()).device
        padded = torch.full((len(ids), max(map(len, ids))), self.begin_id, device=device)
        mask = torch.zeros_like(padded)
        for number, row in enumerate(ids):
            padded[number, : len(row)] = torch.tensor(row, device=device)
            mask[number, : len(row)] = 1
        logits = self.model(input_ids=padded, attention_mask=mask).logits.float()
        scores = logits.log_softmax(-1)
        said = scores[:, :-1].gather(2, padded[:, 1:, None])[..., 0] * mask[:, 1:]
        totals = said.double().sum(1).tolist()
        ends = scores[torch.arange(len(ids)), mask.sum(1) - 1, self.end_id].tolist()
        self._scores |= dict(zip(new, zip(totals, ends, strict=True), strict=True))
