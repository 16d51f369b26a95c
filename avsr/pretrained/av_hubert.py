"""AV-HuBERT checkpoints (github.com/facebookresearch/av_hubert): of fairseq and Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsr.pretrained.checkpoint_reading import (
    Described,
    plain,
    read_checkpoint,
    read_folder,
    tensors_of,
)
from avsr.pretrained.key_mapping import (
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

    from avsr.models.av_hubert import AvHubert, AvHubertConfig
    from avsr.models.transformer_decoder import TransformerDecoderConfig

SOURCE = "https://github.com/facebookresearch/av_hubert"
LICENCE_NOTICE = """AV-HuBERT weights: read this before you use them.
Code and models of github.com/facebookresearch/av_hubert are under the AV-HuBERT License Agreement
of Meta Platforms (its file LICENSE), which is not an open-source licence. It allows non-commercial
research; it forbids, among others, commercial and production use, military use, surveillance and
biometric processing; it cannot be passed on. Copies and derived works (weights in another format,
weights fine-tuned from these) must carry that licence and its attribution notice. Copies on hubs
that name another licence do not change this. The training data (LRS3, VoxCeleb2) has terms of its
own. This toolkit grants nothing on these weights, and keeps this notice beside them.
"""

_ATTENTION = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
# Modules of the pretraining task, of no use afterwards, and what fairseq keeps beside parameters.
UNUSED = (
    r".*mask_emb",
    r".*label_embs_concat",
    r".*final_proj\..*",
    r".*target_glu\..*",
    r"decoder\.embed_positions\..*",
    r"decoder\.version",
)
_DECODER = prefix_rules(
    r"decoder\.layers\.(\d+)\.",
    r"decoder.layers.\1.",
    {
        **{f"self_attn.{theirs}": f"self_attention.{ours}" for theirs, ours in _ATTENTION.items()},
        **{f"encoder_attn.{u}": f"memory_attention.{v}" for u, v in _ATTENTION.items()},
        "self_attn_layer_norm": "self_norm",
        "encoder_attn_layer_norm": "memory_norm",
        "final_layer_norm": "feed_forward_norm",
        "fc1": "expand",
        "fc2": "contract",
    },
) + prefix_rules(
    r"decoder\.",
    "decoder.",
    {"embed_tokens": "embedding", "layer_norm": "norm"},
)
RULES: list[Rule] = [
    *_DECODER,
    (r"decoder\.embed_out", "decoder.output.weight"),
    *prefix_rules(
        r"encoder\.layers\.(\d+)\.",
        r"layers.\1.",
        {
            **{f"self_attn.{theirs}": f"attention.{ours}" for theirs, ours in _ATTENTION.items()},
            "self_attn_layer_norm": "attention_norm",
            "final_layer_norm": "feed_forward_norm",
            "fc1": "expand",
            "fc2": "contract",
        },
    ),
    *prefix_rules(
        "",
        "",
        {
            "encoder.pos_conv.0": "positions",
            "encoder.layer_norm": "norm",
            "layer_norm": "joined_norm",
            "post_extract_proj": "joined_map",
            "feature_extractor_audio.proj": "audio_map",
            "feature_extractor_video.proj": "video_map",
            "proj": "to_logits",
        },
    ),
    *resnet_rules(r"feature_extractor_video\.resnet\.", "frontend.", VIDEO_STEM),
]
# The Hugging Face layout's names for the same parts; its layers always have layer norm first.
_AS_FAIRSEQ = (
    ("encoder.pos_conv_embed.conv.", "encoder.pos_conv.0."),
    (".parametrizations.weight.original0", ".weight_g"),
    (".parametrizations.weight.original1", ".weight_v"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
)


def read_av_hubert(path: Path | str) -> tuple[AvHubert, list[str] | None]:
    """Read a fairseq ``.pt``, or a folder in the Hugging Face layout.

    Returns:
        The network in evaluation mode, and the dictionary's symbols where the checkpoint holds
        them (``None``: give the dictionary's file).

    Raises:
        ValueError: not such a checkpoint, settings that are missing or not supported, names or
            shapes that do not fit; nothing from the file is executed.
    """
    path = Path(path)
    if path.is_dir():
        tensors, config = read_folder(path)
        return av_hubert_from_folder(tensors, config, str(path)), None
    content = read_checkpoint(path, settings=True)
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise ValueError(f"{path}: has no 'model', so it is no fairseq checkpoint; check the file")
    encoder, decoder = _settings_of(content, str(path))
    model = av_hubert_from_tensors(tensors_of(path, content), encoder, decoder, str(path))
    return model, _symbols(content)


def av_hubert_from_tensors(
    published: Mapping[str, torch.Tensor],
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    where: str,
) -> AvHubert:
    """The network with published weights, in evaluation mode.

    Args:
        published: names and tensors as fairseq writes them.
        encoder: fairseq's settings of the pretrained model (``encoder_attention_heads``,
            ``layer_norm_first`` and others).
        decoder: fairseq's settings of the fine-tuned model; empty without a decoder.
        where: file, for errors.

    Raises:
        ValueError: settings missing, names or shapes that do not fit.
    """
    from avsr.models.av_hubert import AvHubert

    named = _without_wrappers(published)
    _fold_weight_norm(named, where)
    config = _encoder_config(named, encoder, where)
    if "proj.weight" in named:
        config = replace(config, head="ctc", vocabulary_size=len(named["proj.weight"]))
    elif any(name.startswith("decoder.") for name in named):
        config = _with_decoder(config, named, decoder, where)
    model = AvHubert(config)
    model.load_state_dict(fitted_state(model, named, RULES, unused=UNUSED, where=where))
    return model.eval()


def av_hubert_from_folder(
    tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any], where: str
) -> AvHubert:
    """The network of a Hugging Face folder's tensors and ``config.json``, in evaluation mode.

    Raises:
        ValueError: as :func:`av_hubert_from_tensors`.
    """
    named = {}
    for name, tensor in tensors.items():
        if name.endswith("lm_head.weight"):
            continue  # the embedding once more
        name = name.removeprefix("model.").removeprefix("avhubert.")
        inside = name.removeprefix("encoder.")
        if inside.startswith(
            ("encoder.", "feature_extractor_", "layer_norm.", "post_extract_proj")
        ):
            name = inside
        if inside in ("mask_emb", "label_embs_concat"):
            name = inside
        for theirs, fairseq in _AS_FAIRSEQ:
            name = name.replace(theirs, fairseq)
        if name.startswith("encoder.layers.") and ".self_attn." not in name:
            name = _layer_norm_name(name)
        named[name] = tensor
    encoder = {
        "encoder_attention_heads": config.get(
            "encoder_attention_heads", config.get("num_attention_heads")
        ),
        "layer_norm_first": True,
        "modality_fuse": config.get("modality_fuse", "concat"),
        "activation_fn": config.get("hidden_act", "gelu"),
    }
    decoder = {
        "decoder_attention_heads": config.get("decoder_attention_heads"),
        "decoder_normalize_before": True,
        "share_decoder_input_output_embed": True,
        "no_scale_embedding": not config.get("scale_embedding", False),
        "activation_fn": config.get("activation_function", "relu"),
    }
    return av_hubert_from_tensors(named, encoder, decoder, where)


def _layer_norm_name(name: str) -> str:
    start, number, rest = name.split(".layers.")[0], *name.split(".layers.")[1].split(".", 1)
    if rest.startswith("layer_norm."):
        rest = "self_attn_" + rest
    return f"{start}.layers.{number}.{rest}"


def _without_wrappers(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as those of the pretrained model, whatever it was wrapped in for fine-tuning."""
    named = {}
    for name, tensor in published.items():
        for wrapper in ("encoder.w2v_model.", "w2v_encoder.w2v_model.", "w2v_encoder."):
            if name.startswith(wrapper):
                name = name.removeprefix(wrapper)
                break
        named[name] = tensor
    return named


def _fold_weight_norm(named: dict[str, torch.Tensor], where: str) -> None:
    """Replace the position convolution's direction and length by the weight that they make."""
    stem = "encoder.pos_conv.0.weight"
    if stem in named:
        return
    length = require(named, f"{stem}_g", where).float()
    direction = require(named, f"{stem}_v", where).float()
    if length.numel() != direction.shape[-1]:
        raise ValueError(
            f"{where}: {stem}_g {tuple(length.shape)} and {stem}_v {tuple(direction.shape)} do not "
            "fit together; is it this network's checkpoint?"
        )
    del named[f"{stem}_g"], named[f"{stem}_v"]
    norms = direction.flatten(0, 1).norm(dim=0)
    named[stem] = direction * (length.reshape(-1) / norms)


def _encoder_config(
    named: Mapping[str, torch.Tensor], settings: Mapping[str, Any], where: str
) -> AvHubertConfig:
    from avsr.models.av_hubert import AvHubertConfig

    inner, width = require(named, "encoder.layers.0.fc1.weight", where).shape
    positions = require(named, "encoder.pos_conv.0.weight", where)
    heads = _setting(settings, "encoder_attention_heads", where)
    activation = settings.get("activation_fn") or "gelu"
    if activation != "gelu":
        raise ValueError(
            f"{where}: the encoder's activation {activation!r} is not supported (gelu)"
        )
    stem = "feature_extractor_video.resnet.frontend3D.2.weight"
    return AvHubertConfig(
        width=width,
        num_heads=int(heads),
        feed_forward=inner,
        num_layers=count_layers(named, r"encoder\.layers\.(\d+)\."),
        norm_first=bool(_setting(settings, "layer_norm_first", where)),
        audio_features=require(named, "feature_extractor_audio.proj.weight", where).shape[1],
        position_kernel=positions.shape[-1],
        position_groups=width // positions.shape[1],
        joining="add" if settings.get("modality_fuse") == "add" else "concat",
        activation="prelu" if stem in named else "relu",
    )


def _with_decoder(
    config: AvHubertConfig,
    named: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    where: str,
) -> AvHubertConfig:
    from avsr.models.transformer_decoder import TransformerDecoderConfig

    size, width = require(named, "decoder.embed_tokens.weight", where).shape
    for unsupported in ("decoder_learned_pos", "no_token_positional_embeddings"):
        if settings.get(unsupported):
            raise ValueError(f"{where}: the decoder's {unsupported} is not supported")
    decoder: TransformerDecoderConfig = TransformerDecoderConfig(
        vocabulary_size=size,
        width=width,
        memory_width=require(named, "decoder.layers.0.encoder_attn.k_proj.weight", where).shape[1],
        num_heads=int(_setting(settings, "decoder_attention_heads", where)),
        feed_forward=require(named, "decoder.layers.0.fc1.weight", where).shape[0],
        num_layers=count_layers(named, r"decoder\.layers\.(\d+)\."),
        layout="fairseq",
        norm_first="decoder.layer_norm.weight" in named,
        scale_embedding=not settings.get("no_scale_embedding", True),
        share_embedding="decoder.embed_out" not in named,
        activation=settings.get("activation_fn") or "relu",
    )
    return replace(config, head="decoder", vocabulary_size=size, decoder=decoder)


def _setting(settings: Mapping[str, Any], name: str, where: str) -> Any:
    if settings.get(name) is None:
        raise ValueError(
            f"{where}: its settings do not say {name}, which the tensors do not show; give the "
            "checkpoint as it was published, settings included"
        )
    return settings[name]


def _settings_of(content: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the pretrained model and of the fine-tuned one, from ``cfg`` or ``args``."""
    found = plain(content.get("cfg")) or plain(content.get("args"))
    if not isinstance(found, dict):
        raise ValueError(
            f"{where}: has neither 'cfg' nor 'args', so its heads and norms are unknown; give the "
            "checkpoint as it was published"
        )
    model = found["model"] if isinstance(found.get("model"), dict) else found
    pretrained = model.get("w2v_args")
    if not isinstance(pretrained, dict):
        return model, {}
    inside = pretrained.get("model")
    return (inside if isinstance(inside, dict) else pretrained), model


def _symbols(content: Mapping[str, Any]) -> list[str] | None:
    """Symbols of the target dictionary in the task's state, if it was kept there."""
    task = content.get("task_state")
    if not isinstance(task, Mapping):
        return None
    dictionary = task.get("target_dictionary")
    state = getattr(dictionary, "state", None) if isinstance(dictionary, Described) else None
    symbols = state.get("symbols") if isinstance(state, Mapping) else None
    return [str(symbol) for symbol in symbols] if isinstance(symbols, list) else None
