"""3D lip motion to one vector for each frame."""

# B batch, T frames, P lip points, D width

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked

LOOK_KERNEL = 5  # frames of each convolution
LIP_SCALE_MM = 3.0  # about one standard deviation of a speaking lip


class MotionEncoder(nn.Module):
    """Lip points, relative to their mean over the utterance, and their velocity.

    Args:
        num_points: P of the canonical lip contour.
        width: D.
        dropout: after the first layer.
        causal: the mean is that of the frames so far, and the second convolution looks back only:
            a frame then depends on the two frames after it and no later one, as in the video stem.
    """

    def __init__(self, num_points: int, width: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.points = nn.Linear(6 * num_points, width)
        self.first = nn.Conv1d(width, width, LOOK_KERNEL, padding=LOOK_KERNEL // 2)
        self.second = nn.Conv1d(
            width, width, LOOK_KERNEL, padding=0 if causal else LOOK_KERNEL // 2
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, lips: Tensor, valid_mask: Tensor) -> Tensor:
        """Map head-pose-free lips (B, T, P, 3) in millimetres to (B, T, D).

        The mean lip position over the valid frames is taken off: whose mouth it is, and where in
        the face, is not the message.
        """
        flat = masked(lips.float().flatten(2), valid_mask)
        if self.causal:
            return self._causal(flat, valid_mask)
        count = valid_mask.sum(1).clamp_min(1)[:, None, None]
        flat = masked(flat - flat.sum(1, keepdim=True) / count, valid_mask) / LIP_SCALE_MM
        # Velocity only between two valid frames: a step into a gap is not a movement.
        both = valid_mask[:, 1:] & valid_mask[:, :-1]
        velocity = F.pad(masked(flat[:, 1:] - flat[:, :-1], both), (0, 0, 1, 0))
        x = self.points(torch.cat([flat, 3.0 * velocity], dim=-1))
        x = masked(self.dropout(F.silu(x)), valid_mask).transpose(1, 2)
        x = F.silu(self.first(x)) * valid_mask[:, None]
        x = self.second(x).transpose(1, 2)
        return masked(self.norm(x), valid_mask)

    def _causal(self, flat: Tensor, valid_mask: Tensor) -> Tensor:
        """The same of masked points (B, T, 3 P), with the mean of the frames so far."""
        totals, counts = flat.double().cumsum(1), valid_mask.cumsum(1)
        both = valid_mask[:, 1:] & valid_mask[:, :-1]
        steps = F.pad(masked(flat[:, 1:] - flat[:, :-1], both), (0, 0, 1, 0))
        x = self.described(flat, totals, counts, steps, valid_mask)
        x = F.silu(self.first(x.transpose(1, 2))) * valid_mask[:, None]
        return self.looked_back(F.pad(x, (LOOK_KERNEL - 1, 0)), valid_mask)

    def described(
        self, flat: Tensor, totals: Tensor, counts: Tensor, steps: Tensor, valid_mask: Tensor
    ) -> Tensor:
        """Points and velocity as (B, T, D).

        Args:
            flat: masked points (B, T, 3 P) in millimetres.
            totals: float64 (B, T, 3 P), their sum up to and with each frame.
            counts: (B, T), how many frames that sum holds.
            steps: (B, T, 3 P), change since the frame before, 0 next to an invalid frame.
            valid_mask: (B, T).
        """
        mean = (totals / counts.clamp_min(1)[..., None]).to(flat.dtype)
        position = masked(flat - mean, valid_mask) / LIP_SCALE_MM
        x = self.points(torch.cat([position, 3.0 * steps / LIP_SCALE_MM], dim=-1))
        return masked(self.dropout(F.silu(x)), valid_mask)

    def looked_back(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """The second convolution of (B, D, 4 + T) and the norm: (B, T, D)."""
        return masked(self.norm(self.second(x).transpose(1, 2)), valid_mask)
