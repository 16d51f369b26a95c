"""Transducer decoding: worked cases, batches, and the loss as judge of the beam's scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avsr.decode.transducer import beam_reference, transducer_beam, transducer_greedy
from avsr.losses import transducer_loss_sum
from avsr.models.transducer import Transducer


class Scripted:
    """A head that says at a frame what the frame holds, once: then blank."""

    def project(self, memory: Tensor) -> Tensor:
        return memory

    def predict(self, contexts: Tensor) -> Tensor:
        return contexts[..., -1:].float()

    def join(self, frames: Tensor, predicted: Tensor) -> Tensor:
        wanted = torch.where(frames[..., 0] == predicted[..., 0], 0, frames[..., 0]).long()
        return 10.0 * torch.nn.functional.one_hot(wanted, 6).float()


def script(*tokens: int) -> Tensor:
    return torch.tensor(tokens, dtype=torch.float32)[:, None]


def random_head(seed: int, vocabulary: int = 4, width: int = 6) -> Transducer:
    torch.manual_seed(seed)
    return Transducer(vocabulary, width, dropout=0.0).double().eval()


def test_greedy_reads_the_script_and_stops_at_each_utterances_end() -> None:
    memory = torch.stack([script(0, 3, 0, 5), script(2, 4, 1, 1)])
    assert transducer_greedy(Scripted(), memory, torch.tensor([4, 2])) == [[3, 5], [2, 4]]
    assert transducer_beam(Scripted(), memory, torch.tensor([4, 2]), 3)[1][0][0] == [2, 4]


def test_a_frame_gives_no_more_tokens_than_allowed() -> None:
    class Endless(Scripted):
        def join(self, frames: Tensor, predicted: Tensor) -> Tensor:
            return torch.tensor([0.0, 5.0]).expand(*frames.shape[:-1], 2)

    lengths = torch.tensor([3])
    assert transducer_greedy(Endless(), torch.zeros(1, 3, 1), lengths, 2) == [[1] * 6]
    longest = max(
        len(tokens)
        for tokens, _ in transducer_beam(Endless(), torch.zeros(1, 3, 1), lengths, 9, 2)[0]
    )
    assert longest == 6


def test_a_wide_beam_gives_the_probabilities_of_the_loss() -> None:
    """With room for every hypothesis the sum over its alignments is what training computes."""
    model, frames, most = random_head(3, vocabulary=3), 2, 2
    memory = torch.randn(1, frames, 6, dtype=torch.float64)
    found = {
        tuple(tokens): score
        for tokens, score in transducer_beam(model, memory, torch.tensor([frames]), 200, most)[0]
    }
    for target in ([], [1], [2, 1], [1, 1]):
        logits = model(memory, torch.tensor([target], dtype=torch.long))
        loss = transducer_loss_sum(
            torch.nn.functional.pad(logits, (0, 0, 0, 1)),
            torch.tensor([frames]),
            torch.tensor([[*target, 0]]),
            torch.tensor([len(target)]),
        )
        assert found[tuple(target)] == pytest.approx(-loss.total.item(), rel=1e-5)


def test_padding_and_neighbours_change_nothing() -> None:
    model = random_head(5)
    memory = torch.randn(3, 7, 6, dtype=torch.float64)
    lengths = torch.tensor([7, 3, 5])
    together = transducer_beam(model, memory, lengths, 4)
    greedy = transducer_greedy(model, memory, lengths)
    noisy = memory.clone()
    noisy[1, 3:] = 99.0
    assert transducer_beam(model, noisy, lengths, 4)[1] == together[1]
    for row, length in enumerate(lengths.tolist()):
        alone = memory[row : row + 1, :length]
        only = torch.tensor([length])
        assert transducer_greedy(model, alone, only) == [greedy[row]]
        for one, other in zip(
            transducer_beam(model, alone, only, 4)[0], together[row], strict=True
        ):
            assert one[0] == other[0]
            assert one[1] == pytest.approx(other[1], abs=1e-9)


def test_no_utterance_and_no_frame() -> None:
    model = random_head(1)
    assert transducer_beam(model, torch.zeros(0, 0, 6).double(), torch.tensor([]).long()) == []
    nothing = torch.zeros(1, 0, 6).double(), torch.tensor([0])
    assert transducer_greedy(model, *nothing) == [[]]
    assert transducer_beam(model, *nothing) == [[([], 0.0)]]


@pytest.mark.parametrize("wrong", [{"beam_size": 0}, {"tokens_per_frame": 0}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    model, memory = random_head(1), torch.zeros(1, 2, 6).double()
    with pytest.raises(ValueError, match="must be at least 1"):
        transducer_beam(model, memory, torch.tensor([2]), **wrong)
    with pytest.raises(ValueError, match="must be at least 1"):
        beam_reference(model, memory[0], **wrong)
