"""Auto-AVSR checkpoints (github.com/mpc001/auto_avsr): both layouts of names, strict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avsr.pretrained.checkpoint_reading import read_checkpoint, tensors_of
from avsr.pretrained.key_mapping import (
    AUDIO_STEM,
    VIDEO_STEM,
    Rule,
    count_layers,
    fitted_state,
    prefix_rules,
    require,
    resnet_rules,
)

if TYPE_CHECKING:
    import torch

    from avsr.models.auto_avsr import AutoAvsr, AutoAvsrConfig
    from avsr.schema import Modality

SOURCE = "https://github.com/mpc001/auto_avsr"
LICENCE_NOTICE = """Auto-AVSR weights: read this before you use them.
The code of github.com/mpc001/auto_avsr is Apache-2.0. Its README says that the pretrained models
may have licences or terms of their own, which derive from the data that they were trained on. By
the project's paper that is LRS2 and LRS3, for the larger ones AVSpeech and VoxCeleb2 as well. LRS2
is restricted (its makers say that industrial laboratories cannot use it), and LRS3 was given out
under terms of its own. Whether your use is covered is yours to find out: this toolkit grants
nothing on these weights, and keeps this notice beside them.
"""

_ATTENTION = {"linear_q": "query", "linear_k": "key", "linear_v": "value", "linear_out": "out"}
_BLOCK = {
    "norm_ff_macaron": "first_half.0",
    "feed_forward_macaron.w_1": "first_half.1",
    "feed_forward_macaron.w_2": "first_half.3",
    "norm_mha": "attention.norm",
    **{f"self_attn.{theirs}": f"attention.{ours}" for theirs, ours in _ATTENTION.items()},
    "self_attn.linear_pos": "attention.position",
    "norm_conv": "convolution.norm",
    "conv_module.pointwise_cov1": "convolution.expand",
    "conv_module.depthwise_conv": "convolution.depthwise",
    "conv_module.norm": "convolution.batch_norm",
    "conv_module.pointwise_cov2": "convolution.out",
    "norm_ff": "second_half.0",
    "feed_forward.w_1": "second_half.1",
    "feed_forward.w_2": "second_half.3",
    "norm_final": "norm",
}
_DECODER_LAYER = {
    **{f"self_attn.{theirs}": f"self_attention.{ours}" for theirs, ours in _ATTENTION.items()},
    **{f"src_attn.{theirs}": f"memory_attention.{ours}" for theirs, ours in _ATTENTION.items()},
    "norm1": "self_norm",
    "norm2": "memory_norm",
    "norm3": "feed_forward_norm",
    "feed_forward.w_1": "expand",
    "feed_forward.w_2": "contract",
}
_REST: list[Rule] = [
    *prefix_rules(r"decoder\.decoders\.(\d+)\.", r"decoder.layers.\1.", _DECODER_LAYER),
    *prefix_rules(
        r"decoder\.",
        "decoder.",
        {"embed.0": "embedding", "after_norm": "norm", "output_layer": "output"},
    ),
    *prefix_rules(
        "",
        "",
        {"ctc.ctc_lo": "to_logits", "fusion.fc1": "fusion.expand"}
        | {"fusion.bn1": "fusion.norm", "fusion.fc2": "fusion.contract"},
    ),
]


def _encoder_rules(published: str, stream: str) -> list[Rule]:
    ours = f"encoders.{stream}."
    biases = {"pos_bias_u": "content_bias", "pos_bias_v": "position_bias"}
    return [
        *(
            (rf"{published}encoders\.(\d+)\.self_attn\.{u}", rf"{ours}blocks.\1.attention.{v}")
            for u, v in biases.items()
        ),
        *prefix_rules(rf"{published}encoders\.(\d+)\.", rf"{ours}blocks.\1.", _BLOCK),
        *prefix_rules(published, ours, {"after_norm": "norm"}),
    ]


def _rules(stream_prefixes: dict[str, str]) -> list[Rule]:
    """Rules for streams whose encoders' names start with the given prefixes."""
    rules: list[Rule] = []
    for stream, published in stream_prefixes.items():
        stem = VIDEO_STEM if stream == "video" else AUDIO_STEM
        rules += resnet_rules(rf"{published}frontend\.", f"frontends.{stream}.", stem)
        rules += prefix_rules(published, f"encoders.{stream}.", {"embed.0": "embed"})
        rules += _encoder_rules(published, stream)
    return rules + _REST


def _as_first_release(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of the present layout as those of v1.0.0, which put the front-end into the encoder."""
    moved = {"frontend.": "encoder.frontend.", "proj_encoder.": "encoder.embed.0."}
    named = {}
    for name, tensor in published.items():
        for start, other in moved.items():
            if name.startswith(start):
                name = other + name.removeprefix(start)
        named[name] = tensor
    return named


def config_of(published: dict[str, torch.Tensor], where: str) -> AutoAvsrConfig:
    """The network's shape, read from its tensors (names as in v1.0.0).

    Raises:
        ValueError: a tensor that tells the shape is not there.
    """
    from avsr.models.auto_avsr import AutoAvsrConfig

    heads, _ = require(published, "encoder.encoders.0.self_attn.pos_bias_u", where).shape
    feed_forward, width = require(
        published, "encoder.encoders.0.feed_forward.w_1.weight", where
    ).shape
    kernel = require(published, "encoder.encoders.0.conv_module.depthwise_conv.weight", where)
    stem = "encoder.frontend.frontend3D.0.weight"
    modality: Modality = "video" if stem in published else "audio"
    if any(name.startswith("aux_encoder.") for name in published):
        modality = "audio_visual"
    activation_name = (
        stem.replace("3D.0", "3D.2")
        if modality != "audio"
        else ("encoder.frontend.trunk.relu.weight")
    )
    config = AutoAvsrConfig(
        modality=modality,
        vocabulary_size=require(published, "ctc.ctc_lo.weight", where).shape[0],
        width=width,
        num_heads=heads,
        feed_forward=feed_forward,
        encoder_layers=count_layers(published, r"encoder\.encoders\.(\d+)\."),
        kernel=kernel.shape[-1],
        decoder_layers=count_layers(published, r"decoder\.decoders\.(\d+)\."),
        activation="prelu" if activation_name in published else "swish",
    )
    if modality != "audio_visual":
        return config
    from dataclasses import replace

    return replace(config, fusion_width=require(published, "fusion.fc1.weight", where).shape[0])


def auto_avsr_from_tensors(published: dict[str, torch.Tensor], where: str) -> AutoAvsr:
    """The network with published weights, in evaluation mode.

    Args:
        published: the checkpoint's names and tensors, in the layout of v1.0.0 or the present one.
        where: file, for errors.

    Raises:
        ValueError: unknown or missing names, other shapes.
    """
    from avsr.models.auto_avsr import AutoAvsr

    named = _as_first_release(published)
    model = AutoAvsr(config_of(named, where))
    rules = _rules({"video": r"encoder\.", "audio": r"aux_encoder\."})
    if len(model.config.streams) == 1:
        stream = model.config.streams[0]
        stem = VIDEO_STEM if stream == "video" else AUDIO_STEM
        rules = [
            *resnet_rules(r"frontend\.", f"frontends.{stream}.", stem),
            *prefix_rules("", f"encoders.{stream}.", {"proj_encoder": "embed"}),
            *_rules({stream: r"encoder\."}),
        ]
    model.load_state_dict(fitted_state(model, published, rules, unused=(), where=where))
    return model.eval()


def read_auto_avsr(path: Path | str) -> AutoAvsr:
    """Read a published ``.pth``.

    Raises:
        ValueError: not such a checkpoint; nothing from the file is executed.
    """
    return auto_avsr_from_tensors(tensors_of(path, read_checkpoint(path)), str(path))
