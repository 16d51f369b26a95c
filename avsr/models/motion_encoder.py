"""3D lip motion to one vector for each frame."""

# B batch, T frames, P lip points, D width

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked

LIP_SCALE_MM = 3.0  # about one standard deviation of a speaking lip


class MotionEncoder(nn.Module):
    """Lip points, relative to their mean over the utterance, and their velocity.

    Args:
        num_points: P of the canonical lip contour.
        width: D.
        dropout: after the first layer.
    """

    def __init__(self, num_points: int, width: int, dropout: float) -> None:
        super().__init__()
        self.points = nn.Linear(6 * num_points, width)
        self.first = nn.Conv1d(width, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, lips: Tensor, valid_mask: Tensor) -> Tensor:
        """Map head-pose-free lips (B, T, P, 3) in millimetres to (B, T, D).

        The mean lip position over the valid frames is taken off: whose mouth it is, and where in
        the face, is not the message.
        """
        flat = masked(lips.float().flatten(2), valid_mask)
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
