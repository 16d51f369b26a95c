"""What a copy of LRS2 or LRS3 holds, against what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.corpora.clips import CorpusError
from avsr.corpora.lrs_copy import Copy, LrsFile, check_copy, hold_out_talks, list_pairs


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_pairs_incomplete_clips_and_odd_files(tmp_path: Path) -> None:
    for name in ("t/1.mp4", "t/1.txt", "t/2.mp4", "t/3.txt", "t/4.mp4", "t/note.pdf", "loose.mp4"):
        write(tmp_path / name, "x")
    (tmp_path / "t/4.txt").touch()
    pairs, incomplete, odd = list_pairs(tmp_path, "test")
    assert [pair.utterance_id for pair in pairs] == ["test/t/1"]
    assert [row["utterance_id"] for row in incomplete] == ["test/t/2", "test/t/3", "test/t/4"]
    assert "2.txt: is missing or empty" in incomplete[0]["reason"]
    assert {Path(row["path"]).name for row in odd} == {"note.pdf", "loose.mp4"}


def copy_of(count: int, published: int) -> Copy:
    files = tuple(LrsFile("test", "t", str(k), Path("x")) for k in range(count))
    return Copy(files, {"test": published})


@pytest.mark.parametrize(
    ("count", "published", "allowed", "is_subset", "accepted"),
    [
        (3, 3, 0, False, True),
        (2, 3, 0, False, False),
        (2, 3, 1, False, True),
        (5, 3, 1, False, False),
        (2, 900, 0, True, True),
    ],
)
def test_numbers_are_compared_with_the_published_ones(
    count: int, published: int, allowed: int, is_subset: bool, accepted: bool
) -> None:
    lines = check_copy(copy_of(count, published), "X", allowed, is_subset)
    assert next(lines) == f"X test: {count} complete utterances, published {published}"
    if accepted:
        assert list(lines) == []
    else:
        with pytest.raises(CorpusError, match="--allow-missing.*--is-subset"):
            list(lines)


def test_held_out_talks_are_few_whole_and_fixed() -> None:
    files = [LrsFile("trainval", f"t{k % 200}", str(k), Path("x")) for k in range(4000)]
    held = hold_out_talks(files, 0.04, 0)
    assert held == hold_out_talks(reversed(files), 0.04, 0) != hold_out_talks(files, 0.04, 1)
    assert sum(file.talk in held for file in files) == 160
    with pytest.raises(CorpusError, match="leaves none for training"):
        hold_out_talks(files[:1], 0.04, 0)
