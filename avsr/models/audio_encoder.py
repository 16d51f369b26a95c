"""Log-mel features to one vector for each 25 fps video frame."""

# B batch, T video frames, K = 4 T feature frames, F mel bands, D width

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked

# Log-mel of speech in [-1, 1] lies between -14 (floor) and 3: this brings it near zero mean and
# unit variance without a statistic of the utterance, which a stream could not know.
LOG_MEL_MEAN, LOG_MEL_SCALE = -7.0, 4.0


class AudioEncoder(nn.Module):
    """Two strided convolutions over time and frequency, then a linear map.

    Args:
        num_mels: F, a multiple of 4.
        width: D.
        channels: channels of the convolutions.
    """

    def __init__(self, num_mels: int, width: int, channels: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.out = nn.Linear(channels * (num_mels // 4), width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, valid_mask: Tensor) -> Tensor:
        """Map log-mel (B, 4 T, F) with ``valid_mask`` (B, T) to (B, T, D)."""
        x = (features - LOG_MEL_MEAN) / LOG_MEL_SCALE
        x = masked(x, valid_mask.repeat_interleave(4, dim=1))
        # Masked again between the convolutions: a bias makes padding non-zero.
        x = F.silu(self.first(x[:, None])).transpose(1, 2)
        x = masked(x, valid_mask.repeat_interleave(2, dim=1)).transpose(1, 2)
        x = F.silu(self.second(x)).transpose(1, 2).flatten(2)
        return masked(self.norm(self.out(x)), valid_mask)
