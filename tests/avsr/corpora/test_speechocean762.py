from __future__ import annotations

from pathlib import Path

import pytest

from avsr.corpora.speechocean762 import speechocean_pool

HEADER = "utt\tspk\tage\tgender\tseconds\ttext\n"


def lay_out(root: Path, table: str, audio: tuple[str, ...] = ()) -> Path:
    (root / "audio").mkdir()
    for name in audio:
        (root / "audio" / f"{name}.ogg").write_bytes(b"sound")
    (root / "train_adult.tsv").write_text(table, encoding="utf-8")
    return root


def test_pool_lists_recordings_with_their_speakers(tmp_path: Path) -> None:
    table = HEADER + '2\tB\t30\tf\t1.0\tSAY "YES\n1\tA\t20\tm\t2.0\tNO\n'
    root = lay_out(tmp_path, table, ("1", "2"))
    audio = root / "audio"
    assert speechocean_pool(root) == [(audio / "1.ogg", "A"), (audio / "2.ogg", "B")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEADER, "lists no recording"),
        ("utt\ttext\n1\tNO\n", r"lacks the columns \['spk'\]"),
        (HEADER + "1\t\t20\tm\t2.0\tNO\n", r"train_adult\.tsv:2: .*empty"),
        (
            HEADER + "1\tA\t\t\t\t\n7\tA\t\t\t\t\n8\tA\t\t\t\t\n",
            r"7\.ogg: no such.* and 1 more of 3",
        ),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        speechocean_pool(lay_out(tmp_path, table, ("1",)))


def test_a_missing_folder_and_an_unknown_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train_adult\.tsv: no such list"):
        speechocean_pool(tmp_path)
    with pytest.raises(ValueError, match="train, test"):
        speechocean_pool(tmp_path, "valid")


@pytest.mark.real_data
def test_real_lists_have_disjoint_speakers(avsr_data: Path) -> None:
    root = avsr_data / "speechocean762"
    train, test = speechocean_pool(root), speechocean_pool(root, "test")
    assert (len(train), len(test)) == (1340, 1220)
    speakers = {speaker for _, speaker in train}, {speaker for _, speaker in test}
    assert (len(speakers[0]), len(speakers[1])) == (67, 61)
    assert not speakers[0] & speakers[1]
