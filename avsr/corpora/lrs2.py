"""LRS2-BBC (Afouras, Chung, Senior, Vinyals, Zisserman, TPAMI 2018): a copy to a prepared corpus.

Layout read: ``<root>/main/<programme>/<clip>.mp4`` and ``<root>/pretrain/<programme>/<clip>.mp4``,
each with its ``.txt``, and the lists ``train.txt``, ``val.txt``, ``test.txt``, ``pretrain.txt`` of
``<programme>/<clip>``; lines of the test list have a further word (``NF`` or ``MV``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from avsr.corpora.clips import CorpusError, PrepareConfig, TalkingClip, skip
from avsr.corpora.lrs import LrsConfig, prepare_lrs
from avsr.corpora.lrs_copy import Copy, LrsFile, check_copy, list_pairs

PUBLISHED = {"pretrain": 96_318, "train": 45_839, "val": 1_082, "test": 1_243}
SPLIT_OF = {"pretrain": "train", "train": "train", "val": "valid", "test": "test"}
DEFAULT_LRS = LrsConfig()


def read_list(path: Path) -> list[str]:
    """``<programme>/<clip>`` of each line of a list, in order.

    Raises:
        CorpusError: missing, a line that names no clip, or a clip that is named twice.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such list; LRS2 has train, val, test and pretrain.txt")
    names: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if fields[0].count("/") != 1 or len(fields) > 2:
            raise CorpusError(
                f"{path}:{number}: {line.strip()!r} is not '<programme>/<clip>'; copy it again"
            )
        if fields[0] in names:
            raise CorpusError(f"{path}:{number}: {fields[0]} is listed twice; keep one line")
        names[fields[0]] = number
    return list(names)


def find_copy(root: Path | str) -> Copy:
    """Everything under ``root``, by the lists.

    Raises:
        CorpusError: no main folder, a list that is missing or none, a clip on two lists.
    """
    root = Path(root)
    if not (root / "main").is_dir():
        raise CorpusError(f"{root}: no folder main; give the folder of LRS2 that has it")
    there: dict[str, dict[str, LrsFile]] = {}
    incomplete: dict[str, dict[str, Any]] = {}
    odd: list[dict[str, Any]] = []
    for place in ("main", "pretrain"):
        pairs, lacking, strange = list_pairs(root / place, place)
        there[place] = {f"{file.talk}/{file.name}": file for file in pairs}
        incomplete |= {row["utterance_id"]: row for row in lacking}
        odd += strange
    files: list[LrsFile] = []
    listed: dict[str, str] = {}
    for subset in PUBLISHED:
        place = "pretrain" if subset == "pretrain" else "main"
        for name in read_list(root / f"{subset}.txt"):
            where = f"{place}/{name}"
            if where in listed:
                raise CorpusError(
                    f"{root / f'{subset}.txt'}: {name} is also in {listed[where]}.txt; "
                    "a clip belongs to one split"
                )
            listed[where] = subset
            if name in there[place]:
                files.append(replace(there[place][name], subset=subset))
            elif where not in incomplete:
                reason = f"{root / where}.mp4: is listed in {subset}.txt but missing; copy it again"
                incomplete[where] = skip(f"{subset}/{name}", root / f"{where}.mp4", reason)
    for place, found in there.items():
        for name, file in found.items():
            if f"{place}/{name}" not in listed:
                reason = f"{file.video}: is on no list; move it away"
                odd.append(skip(f"{place}/{name}", file.video, reason))
    return Copy(tuple(files), PUBLISHED, tuple(incomplete.values()), tuple(odd))


def films_of(copy: Copy, root: Path) -> tuple[list[TalkingClip], list[dict[str, Any]]]:
    """Films with their splits, by programme, and training clips of programmes under test."""
    test = {file.talk for file in copy.files if file.subset == "test"}
    clips, skipped = [], []
    for file in sorted(copy.files, key=lambda file: (file.talk, file.subset, file.name)):
        if file.subset != "test" and file.talk in test:
            reason = f"{file.video}: programme {file.talk} is of the test split; not used otherwise"
            skipped.append(skip(file.utterance_id, file.video, reason))
            continue
        source, split = str(file.video.relative_to(root)), SPLIT_OF[file.subset]
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
    """Check a copy of LRS2, then prepare it; arguments as `avsr.corpora.lrs3.prepare`.

    Raises:
        CorpusError: the copy is refused, no clip is usable, or ``out`` was finished otherwise.
    """
    root, out = Path(root), Path(out)
    copy = find_copy(root)
    for line in check_copy(copy, "LRS2", allow_missing, is_subset):
        say(line)
    clips, skipped = films_of(copy, root)
    if check_only:
        say(f"LRS2: {root} is accepted: {len(clips)} clips, {len(skipped)} not to be used")
        return out
    train = {clip.speaker_id for clip in clips if clip.split == "train"}
    shared = train & {clip.speaker_id for clip in clips if clip.split == "valid"}
    return prepare_lrs(
        "lrs2",
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
            "programmes_in_train_and_valid": len(shared),
        },
        progress=progress,
        say=say,
    )
