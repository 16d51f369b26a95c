"""CTC loss: sums, golden values, impossible pairs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from avsr.losses import (
    after_begin,
    attention_loss_sum,
    ctc_loss_sum,
    early_tokens,
    next_token_loss_sum,
    transducer_loss_sum,
)


def by_enumeration(log_probabilities: torch.Tensor, target: list[int]) -> float:
    """-log of the sum over all paths that collapse to the target (the definition)."""
    frames, vocabulary = log_probabilities.shape
    total = 0.0
    for path in itertools.product(range(vocabulary), repeat=frames):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k] == target:
            total += math.exp(sum(float(log_probabilities[t, k]) for t, k in enumerate(path)))
    return -math.log(total)


def test_equals_enumeration_of_paths_and_sums_over_the_batch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3)
    lengths, tokens = torch.tensor([5, 4]), torch.tensor([[1, 1], [2, 0]])
    loss = ctc_loss_sum(logits, lengths, tokens, torch.tensor([2, 1]))
    expected = by_enumeration(logits[0].log_softmax(-1), [1, 1])
    expected += by_enumeration(logits[1, :4].log_softmax(-1), [2])
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert loss.count == 3


def test_frames_after_the_end_change_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 6, 4)
    arguments = torch.tensor([4]), torch.tensor([[1, 2]]), torch.tensor([2])
    before = ctc_loss_sum(logits, *arguments).total
    logits[0, 4:] = 50.0
    assert float(ctc_loss_sum(logits, *arguments).total) == float(before)


def test_pair_without_a_path_is_named_not_infinite() -> None:
    """Two equal tokens need a blank between them: three frames, not two."""
    tokens, token_lengths = torch.tensor([[1, 1]]), torch.tensor([2])
    with pytest.raises(ValueError, match="2 tokens and 1 repeats for 2 frames"):
        ctc_loss_sum(torch.zeros(1, 2, 3), torch.tensor([2]), tokens, token_lengths)
    loss = ctc_loss_sum(torch.zeros(1, 3, 3), torch.tensor([3]), tokens, token_lengths)
    assert float(loss.total) == pytest.approx(3 * math.log(3), rel=1e-5)


def all_alignments(log_probabilities: torch.Tensor, target: list[int]) -> float:
    """-log of the sum over all ways through frames and tokens (the transducer's definition)."""
    frames, tokens, _ = log_probabilities.shape
    total = 0.0
    # The last step is the blank of the last frame; the tokens' places among the others vary.
    for places in itertools.combinations(range(frames - 1 + tokens - 1), tokens - 1):
        t = u = 0
        score = 0.0
        for step in range(frames - 1 + tokens - 1):
            if step in places:
                score += float(log_probabilities[t, u, target[u]])
                u += 1
            else:
                score += float(log_probabilities[t, u, 0])
                t += 1
        total += math.exp(score + float(log_probabilities[t, u, 0]))
    return -math.log(total)


def test_transducer_loss_equals_enumeration_and_sums_over_the_batch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 3, 5)
    tokens = torch.tensor([[1, 1], [4, 0], [0, 0]])
    lengths, token_lengths = torch.tensor([4, 3, 2]), torch.tensor([2, 1, 0])
    loss = transducer_loss_sum(logits, lengths, tokens, token_lengths)
    scores = logits.log_softmax(-1)
    expected = all_alignments(scores[0], [1, 1])
    expected += all_alignments(scores[1, :3, :2], [4])
    expected += all_alignments(scores[2, :2, :1], [])
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert loss.count == 3


def test_transducer_gradient_is_that_of_the_loss_and_zero_in_the_padding() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 4, requires_grad=True)
    arguments = torch.tensor([4, 2]), torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1])
    transducer_loss_sum(logits, *arguments).total.backward()
    assert logits.grad is not None
    assert (logits.grad[1, 2:] == 0).all() and (logits.grad[1, :, 2:] == 0).all()
    direction = torch.randn(logits.shape)
    with torch.no_grad():
        ahead, behind = (
            float(transducer_loss_sum(logits + step * direction, *arguments).total)
            for step in (1e-2, -1e-2)
        )
    slope = (ahead - behind) / 2e-2
    assert slope == pytest.approx(float((logits.grad * direction).sum()), rel=1e-2)


def test_transducer_loss_of_a_batch_without_any_token() -> None:
    logits = torch.zeros(1, 3, 2, 4)
    loss = transducer_loss_sum(logits, torch.tensor([3]), torch.tensor([[0]]), torch.tensor([0]))
    assert float(loss.total) == pytest.approx(3 * math.log(4), rel=1e-5)
    assert loss.count == 0


def test_next_token_loss_by_hand_and_padding_is_free() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, math.log(2.0), 0.0]]])
    loss = next_token_loss_sum(logits, torch.tensor([[2, 1]]), torch.tensor([2]))
    # 1 of 3 equal ones, then 2 of 4
    assert loss.count == 2 and float(loss.total) == pytest.approx(math.log(3) + math.log(2))
    shorter = next_token_loss_sum(logits, torch.tensor([[2, 0]]), torch.tensor([1]))
    assert shorter.count == 1 and float(shorter.total) == pytest.approx(math.log(3))


def test_attention_loss_counts_tokens_and_ends_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, generator=generator)
    tokens, lengths = torch.tensor([[3, 1, 2], [4, 0, 0]]), torch.tensor([3, 1])
    assert after_begin(tokens).tolist() == [[0, 3, 1, 2], [0, 4, 0, 0]]
    scores = logits.log_softmax(-1)
    targets = [(0, 0, 3), (0, 1, 1), (0, 2, 2), (0, 3, 0), (1, 0, 4), (1, 1, 0)]
    expected = -sum(scores[place] for place in targets)
    loss = attention_loss_sum(logits, tokens, lengths)
    assert loss.count == 6
    torch.testing.assert_close(loss.total, expected)
    noisy = logits.clone()
    noisy[1, 2:] = 50.0
    torch.testing.assert_close(attention_loss_sum(noisy, tokens, lengths).total, expected)
    best = torch.nn.functional.one_hot(torch.tensor([[3, 1, 1, 0], [4, 4, 4, 4]]), 5).float()
    assert attention_loss_sum(best, tokens, lengths).logs == {"attention_correct": 3.0}


def test_label_smoothing_mixes_in_the_mean_over_the_vocabulary() -> None:
    logits = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(1))
    tokens, lengths = torch.tensor([[3, 1]]), torch.tensor([2])
    plain = attention_loss_sum(logits, tokens, lengths).total
    spread = -logits.log_softmax(-1).mean(-1).sum()
    smooth = attention_loss_sum(logits, tokens, lengths, 0.1).total
    torch.testing.assert_close(smooth, 0.9 * plain + 0.1 * spread)


def test_a_token_before_its_time_costs_what_it_says() -> None:
    tokens = torch.tensor([[3, 1, 3], [2, 0, 0]])
    frame_tokens = torch.tensor([[0, 0, 3, 1, 1, 3], [-1, -1, -1, -1, -1, -1]])
    early = early_tokens(frame_tokens, tokens, 4, 5.0)
    assert early.shape == (2, 6, 4) and not early[1].any()  # no times, no loss
    assert early[0, :, 3].tolist() == [5.0, 5.0, 0, 0, 0, 0]  # from where it is first said
    assert early[0, :, 1].tolist() == [5.0, 5.0, 5.0, 0, 0, 0]
    assert not early[0, :, 0].any() and not early[0, :, 2].any()


def test_ctc_with_early_tokens_is_the_sum_over_paths_and_has_its_gradient() -> None:
    """All paths of two tokens in four frames, one by one."""
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3, dtype=torch.float32, requires_grad=True)
    tokens, lengths = torch.tensor([[1, 2]]), torch.tensor([4])
    early = early_tokens(torch.tensor([[0, 1, 1, 2]]), tokens, 3, 2.0)

    def by_paths(values: torch.Tensor) -> torch.Tensor:
        scores = values.log_softmax(-1)[0] - early[0]
        found = []
        for path in itertools.product(range(3), repeat=4):
            told = [k for i, k in enumerate(path) if k and (not i or path[i - 1] != k)]
            if told == [1, 2]:
                found.append(sum(scores[t, k] for t, k in enumerate(path)))
        return -torch.stack(found).logsumexp(0)  # type: ignore[arg-type]

    loss = ctc_loss_sum(logits, lengths, tokens, torch.tensor([2]), early).total
    torch.testing.assert_close(loss, by_paths(logits))
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected,) = torch.autograd.grad(by_paths(logits), logits)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)
    plain = ctc_loss_sum(logits, lengths, tokens, torch.tensor([2])).total
    nothing = ctc_loss_sum(logits, lengths, tokens, torch.tensor([2]), torch.zeros(1, 4, 3)).total
    torch.testing.assert_close(plain, nothing)
