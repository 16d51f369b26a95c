"""LRS3-TED (Afouras, Chung, Zisserman, arXiv:1809.00496): a copy to a prepared corpus.

Layout read: ``<root>/{pretrain,trainval,test}/<talk>/<clip>.mp4`` with ``<clip>.txt`` beside it.
LRS3 is no longer distributed; this serves people who hold a copy. It has no validation split:
whole talks of trainval become one, and their pretrain clips are left out of training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from avsr.corpora.clips import CorpusError, PrepareConfig, TalkingClip, skip
from avsr.corpora.lrs import LrsConfig, prepare_lrs
from avsr.corpora.lrs_copy import Copy, LrsFile, check_copy, hold_out_talks, list_pairs

PUBLISHED = {"pretrain": 118_516, "trainval": 31_982, "test": 1_321}
DEFAULT_LRS = LrsConfig()


def find_copy(root: Path | str) -> Copy:
    """Everything under ``root``.

    Raises:
        CorpusError: none of the three folders is there.
    """
    root = Path(root)
    if not any((root / subset).is_dir() for subset in PUBLISHED):
        raise CorpusError(
            f"{root}: no folder pretrain, trainval or test; give the folder of LRS3 that has them"
        )
    files: list[LrsFile] = []
    incomplete: list[dict[str, Any]] = []
    odd: list[dict[str, Any]] = []
    for subset in PUBLISHED:
        pairs, lacking, strange = list_pairs(root / subset, subset)
        files += pairs
        incomplete += lacking
        odd += strange
    return Copy(tuple(files), PUBLISHED, tuple(incomplete), tuple(odd))


def films_of(
    copy: Copy, root: Path, config: LrsConfig
) -> tuple[list[TalkingClip], list[dict[str, Any]]]:
    """Films with their splits, by talk, and those that must not be used.

    Raises:
        CorpusError: no talk would be left for training.
    """
    trainval = [file for file in copy.files if file.subset == "trainval"]
    test = {file.talk for file in copy.files if file.subset == "test"}
    usable = [file for file in trainval if file.talk not in test]
    valid = hold_out_talks(usable, config.valid_share, config.seed)
    clips, skipped = [], []
    for file in sorted(copy.files, key=lambda file: (file.talk, file.subset, file.name)):
        reason = None
        split = {"test": "test", "pretrain": "train"}.get(file.subset, "train")
        if file.subset != "test" and file.talk in test:
            reason = f"{file.video}: talk {file.talk} is of the test split; not used for training"
        elif file.talk in valid and file.subset == "pretrain":
            reason = f"{file.video}: talk {file.talk} is of the validation split; not trained on"
        elif file.talk in valid:
            split = "valid"
        if reason is not None:
            skipped.append(skip(file.utterance_id, file.video, reason))
            continue
        source = str(file.video.relative_to(root))
        clips.append(TalkingClip(file.utterance_id, file.talk, file.video, source, split, ""))
    return clips, skipped


def prepare(
    root: Path | str,
    out: Path | str,
    *,
    landmarker_model: Path | str,
    allow_missing: int = 0,
    is_subset: bool = False,
    check_only: bool = False,
    num_processes: int = 2,
    config: PrepareConfig | None = None,
    lrs: LrsConfig = DEFAULT_LRS,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Check a copy of LRS3, then prepare it (`avsr.data.manifest`); resumable, on many processes.

    Args:
        root: folder of pretrain, trainval and test. out: folder to write.
        landmarker_model: face_landmarker.task.
        allow_missing: discrepancies from the published corpus that are accepted.
        is_subset: ``root`` is a part of the corpus on purpose: numbers are not compared.
        check_only: stop after the check.
        num_processes: tracking processes of this rank.
        config: limits of tracking. lrs: pieces, tokenizer, validation split.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        CorpusError: the copy is refused, no clip is usable, or ``out`` was finished otherwise.
    """
    root, out = Path(root), Path(out)
    copy = find_copy(root)
    for line in check_copy(copy, "LRS3", allow_missing, is_subset):
        say(line)
    clips, skipped = films_of(copy, root, lrs)
    if check_only:
        say(f"LRS3: {root} is accepted: {len(clips)} clips, {len(skipped)} not to be used")
        return out
    return prepare_lrs(
        "lrs3",
        root,
        out,
        clips,
        [*copy.incomplete, *copy.odd, *skipped],
        landmarker_model=landmarker_model,
        num_processes=num_processes,
        config=config or PrepareConfig(),
        lrs=lrs,
        info={
            "speaker_dependent": False,
            "copy": copy.counts(),
            "valid_share": lrs.valid_share,
            "valid_seed": lrs.seed,
        },
        progress=progress,
        say=say,
    )
