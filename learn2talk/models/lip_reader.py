"""LipReadNet: what a lip reader sees in mouth crops, with gradients to the pixels.

The frozen lip-reading network of Learn2Talk (Zhuang et al., TVCG 2025, section 3.4). The paper does
not name its network; here it is the visual part of one of our recognisers.

Axis letters: B batch, T frames at 25 fps, H W image, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avsr.models.recognizer import Recognizer
from avsr.units import MODEL_CROP_SIZE

WHITE_TOLERANCE = 1e-3  # float rounding may lift white a little above 1


class LipReadNet(nn.Module):
    """The visual encoder of a recogniser: frozen, always in evaluation mode.

    Features of a frame depend on the frames around it, so that only features of the same stretch
    of frames should be compared.

    Args:
        recognizer: a network with mouth crops among its streams; it is frozen in place.

    Raises:
        ValueError: the recogniser sees no mouth crops.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        streams = recognizer.config.streams
        if "crops" not in streams:
            raise ValueError(
                f"this recogniser takes {', '.join(streams)} and no mouth crops, so it cannot read "
                "lips; give one that was trained with the stream 'crops'"
            )
        self.recognizer = recognizer.requires_grad_(False).eval()

    @property
    def width(self) -> int:
        """D, numbers in a frame's features."""
        return self.recognizer.config.width

    def train(self, mode: bool = True) -> LipReadNet:
        """Stays in evaluation mode, whatever the network around it does."""
        return super().train(False)

    def forward(self, mouth_crops: Tensor, valid_mask: Tensor) -> Tensor:
        """Features of mouth crops.

        Args:
            mouth_crops: grey (B, T, 88, 88), uint8 or float in [0, 1].
            valid_mask: bool (B, T), True = a frame that shows a mouth; the others count as grey.

        Returns:
            float (B, T, D), zeros for a clip without a valid frame; gradients reach the crops.

        Raises:
            ValueError: crops of another size, or float crops above 1.
        """
        size = (MODEL_CROP_SIZE, MODEL_CROP_SIZE)
        if mouth_crops.ndim != 4 or mouth_crops.shape[2:] != size:
            raise ValueError(
                f"mouth crops have shape {tuple(mouth_crops.shape)}; give (B, T, {size[0]}, "
                f"{size[1]})"
            )
        if mouth_crops.is_floating_point() and mouth_crops.numel():
            brightest = float(mouth_crops.detach().amax())
            if brightest > 1.0 + WHITE_TOLERANCE:
                raise ValueError(
                    f"mouth crops reach {brightest:g}; give float in [0, 1], or uint8 in 0-255"
                )
        rows = valid_mask.any(1)
        features = torch.zeros(*valid_mask.shape, self.width, device=mouth_crops.device)
        if not bool(rows.any()):
            return features
        seen = self.recognizer.encode("crops", mouth_crops[rows], valid_mask[rows])
        return features.to(seen.dtype).index_put((rows.nonzero()[:, 0],), seen)
