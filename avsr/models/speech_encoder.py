"""Pretrained speech encoders as the recogniser's audio front-end, one vector for each video frame.

wav2vec 2.0, HuBERT and WavLM (through transformers) read the waveform; Whisper's encoder
(:mod:`avsr.models.whisper`) reads its own log-mel. All give 50 vectors a second, joined in pairs.

Padding is exact: an utterance alone and in a padded batch agree to rounding. That takes three
things that transformers alone does not do: 40 zeros on both sides of the waveform, so that the
convolutions (window 400, hop 320) give exactly two vectors for 640 samples, each in the middle of
its own 320; the group norm of the "group" models over the utterance's own samples; Whisper's
attention with a mask.
"""

# B batch, T frames at 25 fps, S = 640 T samples, N = 2 T vectors, W backbone's width, D width

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked
from avsr.models.whisper import WhisperConfig, WhisperEncoder
from avsr.units import SAMPLES_PER_FRAME

SpeechEncoderKind = Literal["wav2vec2", "hubert", "wavlm", "whisper"]
KINDS: tuple[str, ...] = get_args(SpeechEncoderKind)
VECTORS_PER_FRAME = 2
# Window and hop of the convolutions of wav2vec 2.0 and its successors, in samples.
WINDOW, HOP = 400, 320
MARGIN = (WINDOW - HOP) // 2
# Off: hidden chance in the network (its own SpecAugment, dropped layers). The loop augments.
NO_CHANCE = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
}


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """Which pretrained network, and what of it is used."""

    kind: SpeechEncoderKind
    settings: dict[str, Any]  # of the transformers configuration, or a WhisperConfig's fields
    normalise_waveform: bool = False  # to zero mean and unit variance, as in its pretraining
    trained: bool = False  # fine-tuned with the recogniser; False keeps it frozen
    weighted_layers: bool = False  # a learned weighted sum of all layers, not the last one alone

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"speech encoder of type {self.kind!r} is not one of {', '.join(KINDS)}; give a "
                "checkpoint of one of these"
            )
        if self.kind != "whisper":
            _check_convolutions(self.settings)

    def to_json(self) -> str:
        """One line of JSON: what :class:`RecognizerConfig` carries."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SpeechEncoderConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: not such a text.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"speech_encoder {text[:40]!r} is not a SpeechEncoderConfig as JSON ({error}); "
                "take it from avsr.pretrained.speech_encoders.load_speech_encoder"
            ) from error


def _check_convolutions(settings: dict[str, Any]) -> None:
    kernels = settings.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2))
    strides = settings.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))
    window, hop = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        window, hop = window + (kernel - 1) * hop, hop * stride
    if (window, hop) != (WINDOW, HOP) or settings.get("add_adapter"):
        raise ValueError(
            f"speech encoder with window {window} and hop {hop} samples"
            f"{' and an adapter' if settings.get('add_adapter') else ''} does not give 50 vectors "
            f"a second; give one with {WINDOW} and {HOP} and no adapter"
        )


class OwnLengthGroupNorm(nn.GroupNorm):
    """Group norm of (B, C, N) with one group a channel, over each utterance's own length.

    ``lengths`` (B,) is set for the time of one call. The plain norm would take the padding into
    its mean, so that an utterance depended on its neighbours in the batch.
    """

    lengths: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; what comes out beyond an utterance's length means nothing."""
        if self.lengths is None:
            return super().forward(x)
        valid = (torch.arange(x.shape[2], device=x.device) < self.lengths[:, None])[:, None]
        count = self.lengths[:, None, None]
        wide = x.float()  # sums over thousands of samples, also under autocast
        mean = (wide * valid).sum(2, keepdim=True) / count
        variance = ((wide - mean).square() * valid).sum(2, keepdim=True) / count
        scaled = (wide - mean) * (variance + self.eps).rsqrt()
        return (scaled * self.weight[:, None] + self.bias[:, None]).to(x.dtype)


def normalised(waveform: Tensor, valid: Tensor) -> Tensor:
    """Waveforms (B, S) to zero mean and unit variance over their valid samples; zeros elsewhere."""
    count = valid.sum(1, keepdim=True).clamp_min(1)
    mean = (waveform * valid).sum(1, keepdim=True) / count
    variance = ((waveform - mean).square() * valid).sum(1, keepdim=True) / count
    return (waveform - mean) * (variance + 1e-7).rsqrt() * valid


def make_backbone(config: SpeechEncoderConfig) -> Any:
    """The pretrained network's architecture with random weights."""
    if config.kind == "whisper":
        return WhisperEncoder(WhisperConfig(**config.settings))
    import transformers

    configs = {
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    }
    settings_class, model_class = configs[config.kind]
    model = model_class(settings_class(**{**config.settings, **NO_CHANCE}))
    for layer in model.feature_extractor.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            layer.layer_norm = OwnLengthGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
    return model


class SpeechEncoder(nn.Module):
    """A pretrained speech encoder and a linear map of its paired vectors.

    Args:
        config: of the pretrained network.
        width: D.
    """

    def __init__(self, config: SpeechEncoderConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.backbone: Any = make_backbone(config)
        if config.kind == "whisper":
            backbone_width, layers = config.settings["width"], config.settings["encoder_layers"]
        else:
            settings = self.backbone.config
            backbone_width, layers = settings.hidden_size, settings.num_hidden_layers
        if config.weighted_layers:
            self.layer_weights = nn.Parameter(torch.zeros(layers + 1))
        self.out = nn.Linear(VECTORS_PER_FRAME * backbone_width, width)
        self.norm = nn.LayerNorm(width)
        self.backbone.requires_grad_(config.trained)

    def train(self, mode: bool = True) -> SpeechEncoder:
        """Training mode; a frozen backbone stays as in evaluation (no dropout)."""
        super().train(mode)
        self.backbone.train(mode and self.config.trained)
        return self

    def forward(self, features: Tensor, valid_mask: Tensor) -> Tensor:
        """Map the waveform to (B, T, D); invalid frames come out as zeros.

        Args:
            features: float (B, 4 T, 160), the samples themselves, see
                :func:`avsr.data.dataset.features_of`.
            valid_mask: (B, T) bool, True from the start to each utterance's end.
        """
        waveform = features.flatten(1)
        with torch.set_grad_enabled(self.config.trained and torch.is_grad_enabled()):
            layers = self.vectors(waveform, valid_mask)
        if self.config.weighted_layers:
            shares = self.layer_weights.softmax(0)
            # Each layer at unit scale, or the sum would be the loudest layer's alone.
            x = sum(
                share * F.layer_norm(layer, layer.shape[-1:])
                for share, layer in zip(shares, layers, strict=True)
            )
        else:
            x = layers[-1]
        pairs = x.reshape(*valid_mask.shape, -1)
        return masked(self.norm(self.out(pairs)), valid_mask)

    def vectors(self, waveform: Tensor, valid_mask: Tensor) -> list[Tensor]:
        """Vectors (B, 2 T, W) of every layer, the input of the first one included.

        Args:
            waveform: (B, S) at 16 kHz in [-1, 1].
            valid_mask: (B, T) bool.
        """
        valid = valid_mask.repeat_interleave(SAMPLES_PER_FRAME, dim=1)
        waveform = waveform.float() * valid
        if self.config.normalise_waveform:
            waveform = normalised(waveform, valid)
        if isinstance(self.backbone, WhisperEncoder):
            return self.backbone.layers_of_waveform(waveform, valid_mask.sum(1) * SAMPLES_PER_FRAME)
        padded = F.pad(waveform, (MARGIN, MARGIN))
        samples = valid_mask.sum(1) * SAMPLES_PER_FRAME + 2 * MARGIN
        present = torch.arange(padded.shape[1], device=padded.device) < samples[:, None]
        first = self.backbone.feature_extractor.conv_layers[0]
        group = getattr(first, "layer_norm", None)
        if isinstance(group, OwnLengthGroupNorm):
            kernel, stride = first.conv.kernel_size[0], first.conv.stride[0]
            group.lengths = (samples - kernel) // stride + 1
        out = self.backbone(padded, attention_mask=present.long(), output_hidden_states=True)
        if isinstance(group, OwnLengthGroupNorm):
            group.lengths = None
        layers = list(out.hidden_states)
        layers[-1] = out.last_hidden_state  # with the final norm of the pre-norm models
        return layers
