"""Publish a recogniser: a folder that explains itself, and from there to the Hugging Face Hub.

The folder holds ``model.safetensors`` (weights, with configuration and tokenizer in its header, as
a run's ``best.safetensors``), ``config.json`` and ``tokenizer.model`` for other programs to read,
and ``README.md``, a model card that says where its figures come from.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelHubMixin

from avsr.files import read_json, sha256_file, write_atomically, write_json
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import NORMALISER_VERSION, Tokenizer
from avsr.training.hub import CARD, CONFIG, TOKENIZER, WEIGHTS, recognizer_file
from avsr.training.recognizer import load_recognizer, save_recognizer


class PublishedRecognizer(Recognizer, ModelHubMixin):
    """A recogniser and its tokenizer with the Hub's ``save_pretrained`` and ``from_pretrained``.

    Only safetensors are read and written; a repository's pickles are not even downloaded.
    """

    def __init__(self, config: RecognizerConfig, tokenizer: Tokenizer) -> None:
        if config.vocabulary_size != tokenizer.size:
            raise ValueError(
                f"vocabulary_size {config.vocabulary_size} is not the tokenizer's "
                f"{tokenizer.size}; give the tokenizer that the network was trained with"
            )
        super().__init__(config)
        self.tokenizer = tokenizer

    def _save_pretrained(self, save_directory: Path) -> None:
        save_recognizer(save_directory / WEIGHTS, self, self.tokenizer, {})
        write_json(save_directory / CONFIG, asdict(self.config))
        with write_atomically(save_directory / TOKENIZER) as temporary:
            temporary.write_bytes(self.tokenizer.model)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **_: Any,
    ) -> PublishedRecognizer:
        file = recognizer_file(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return published(*load_recognizer(file))

    def generate_model_card(self, *_: Any, **facts: Any) -> ModelCard:
        """The model card; ``facts`` are those of :func:`card_text`."""
        return ModelCard(card_text(self, **facts))


def published(model: Recognizer, tokenizer: Tokenizer) -> PublishedRecognizer:
    """The same network, in eval mode, with the Hub's methods."""
    result = PublishedRecognizer(model.config, tokenizer)
    result.load_state_dict(model.state_dict())
    return result.eval()


def facts_of_run(weights: Path) -> dict[str, Any]:
    """What the run folder beside the weights tells of them; empty where there is none."""
    facts: dict[str, Any] = {"weights_sha256": sha256_file(weights)}
    for name in ("run.json", "best.json"):
        if (path := weights.with_name(name)).is_file():
            facts[name.removesuffix(".json")] = read_json(path)
    return facts


def card_text(
    model: Recognizer,
    *,
    weights_sha256: str | None = None,
    run: dict[str, Any] | None = None,
    best: dict[str, Any] | None = None,
    licence: str | None = None,
    note: str = "",
) -> str:
    """A model card in Markdown: what the network takes, how it was made, whence each figure.

    Args:
        model: the network.
        weights_sha256: of the file that was published.
        run: a run's ``run.json``.
        best: its ``best.json``: update and validation figures.
        licence: of the weights, a Hub identifier such as ``cc-by-4.0``.
        note: a paragraph of your own: data, limits, intended use.
    """
    config = model.config
    count = sum(parameter.numel() for parameter in model.parameters())
    heads = ["CTC"]
    heads += ["attention decoder"] if config.decoder_layers else []
    heads += ["transducer"] if config.transducer else []
    head = ["---", "library_name: avsr", "pipeline_tag: automatic-speech-recognition"]
    head += [f"license: {licence}"] if licence else []
    head += ["tags:", "- audio-visual-speech-recognition", "- lip-reading", "---"]
    parts = [
        "\n".join(head),
        "# Audio-visual speech recogniser",
        f"Streams: {', '.join(config.streams)}; any may be missing. {count / 1e6:.1f} M "
        f"parameters, {config.vocabulary_size} classes, {', '.join(heads)}; 16 kHz sound, 25 "
        f"frames a second, text normaliser version {NORMALISER_VERSION}.",
        "```bash\navsr transcribe clip.mp4 --recognizer <this folder or owner/name>\n```",
        "## Licence of the weights",
        licence or "Not stated. Ask who trained it; the terms of its training data may apply.",
        *(["## Notes", note] if note else []),
        "## Figures",
        _figures(best),
        "## How it was made",
        _origin(run, weights_sha256),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(best: dict[str, Any] | None) -> str:
    if best is None:
        return "None came with the weights."
    rows = [f"| {k} | {v:.4f} |" for k, v in sorted(best.items()) if isinstance(v, float)]
    return "\n".join(
        [
            f"On the validation split, which chose update {best.get('update', '?')} as the "
            "best, so they flatter; fractions, from the run's `best.json`:",
            "",
            "| metric | value |",
            "|---|---:|",
            *rows,
        ]
    )


# Of run.json; the rest is what the training said of its data.
_NOT_DATA = (
    *("configs", "command", "commit", "python", "versions", "machine", "processor", "cpu_count"),
    "parameters",
)


def _origin(run: dict[str, Any] | None, weights_sha256: str | None) -> str:
    lines = [f"- sha256 of the weights as trained: `{weights_sha256 or 'not known'}`"]
    if run is None:
        return "\n".join([*lines, "- no `run.json` came with the weights"])
    versions = run.get("versions", {})
    data = {k: v for k, v in run.items() if k not in _NOT_DATA}
    lines += [
        f"- command: `{run.get('command', 'not known')}`",
        f"- commit: `{run.get('commit', 'not known')}`",
        "- versions: " + ", ".join(f"{k} {v}" for k, v in versions.items() if v),
        f"- data: `{json.dumps(data, ensure_ascii=False)}`",
    ]
    return "\n".join(lines)


def publish(
    recognizer: Path,
    out: Path,
    *,
    push_to: str | None = None,
    private: bool = True,
    licence: str | None = None,
    note: str = "",
) -> str | None:
    """Write the folder ``out`` for a trained recogniser, and maybe push it to the Hub.

    Args:
        recognizer: ``best.safetensors`` of a run; ``run.json`` and ``best.json`` beside it go into
            the model card.
        out: folder to write; an existing one must be empty or hold nothing but a published model.
        push_to: ``owner/name`` of a repository, made if it is not there; ``None`` pushes nothing.
        private: whether a repository that is made is private.
        licence, note: see :func:`card_text`.

    Returns:
        Address of the commit, where it was pushed.

    Raises:
        ValueError: not a recogniser, or other files in ``out``.
    """
    source = recognizer_file(recognizer)
    others = (
        sorted({one.name for one in out.iterdir()} - {WEIGHTS, CONFIG, TOKENIZER, CARD})
        if (out.is_dir())
        else []
    )
    if others:
        raise ValueError(
            f"{out}: holds other files ({', '.join(others[:3])}); give an empty folder"
        )
    model = published(*load_recognizer(source))
    facts = {**facts_of_run(source), "licence": licence, "note": note}
    (out / CARD).unlink(missing_ok=True)  # the mixin keeps a card that is there
    model.save_pretrained(out, model_card_kwargs=facts)
    if push_to is None:
        return None
    return str(model.push_to_hub(push_to, private=private, model_card_kwargs=facts))
