"""Figures of a trained head motion on a split of a corpus, beside a head that stays still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avsr.files import read_json, sha256_file
from avsr.training.run_folder import provenance
from learn2talk.data.head_motion import HeadClips, collate_heads
from learn2talk.head_motion_files import load_head_motion
from learn2talk.head_motion_training import head_figures, reconstructed, sampled


@torch.no_grad()
def evaluate_head_motion(
    folder: Path, prepared: Path, *, split: str = "test", seed: int = 0
) -> dict[str, Any]:
    """Reconstruction errors, and how draws of the prior move beside how the heads did.

    Args:
        folder: of a trained head motion.
        prepared: prepared corpus.
        split: train, valid or test.
        seed: of the draws, one a clip.

    Returns:
        figures (see `head_figures`), numbers of clips, and where all of it comes from.

    Raises:
        ValueError: no trained head motion there, or no clip with a head pose.
    """
    trained = load_head_motion(folder)
    clips = HeadClips(prepared, split, num_mels=trained.model.config.num_mels)
    made = [reconstructed(trained.model, collate_heads([clip])) for clip in clips.clips]
    drawn = [sampled(trained.model, clip, seed) for clip in clips.clips]
    return {
        "split": split,
        "seed": seed,
        "clips": len(clips),
        "left_out": len(clips.excluded),
        "figures": head_figures(clips.clips, made, drawn),
        "head_motion_sha256": trained.provenance["weights_sha256"],
        "trained_on": trained.provenance["corpus"],
        "corpus": read_json(prepared / "corpus.json").get("name", prepared.name),
        "corpus_json_sha256": sha256_file(prepared / "corpus.json"),
        **provenance(),
    }
