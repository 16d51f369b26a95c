"""speechocean762 (Zhang et al., Interspeech 2021): Mandarin speakers' English, many voices.

Here it lends voices to babble noise. Layout: ``train_adult.tsv`` and ``test_adult.tsv`` (columns
``utt spk age gender seconds text``, tab separated) beside ``audio/<utt>.ogg``.
"""

from __future__ import annotations

import csv
from pathlib import Path

from avsr.data.noise_bank import NoiseConfig, NoiseSplit, recorded_under, split_talkers

# Recorded ambience by split; coffee-shop is heard by no network before the test.
TRAIN_AMBIENCE = ("birds", "boat", "city", "fireplace", "rain", "storm")
VALID_AMBIENCE = ("waves", "summer-night")
TEST_AMBIENCE = ("coffee-shop",)
LISTS: dict[str, str] = {"train": "train_adult.tsv", "test": "test_adult.tsv"}


def speechocean_pool(root: Path | str, part: str = "train") -> list[tuple[Path, str]]:
    """Recordings and their speakers.

    Args:
        root: the folder that holds ``audio/`` and the lists.
        part: ``"train"`` (67 speakers) or ``"test"`` (61 others): the corpus's own lists.

    Returns:
        (path, speaker id) by utterance id; speaker ids are the corpus's, e.g. ``"0036"``.

    Raises:
        ValueError: a missing folder, list, column or recording; the message names it.
    """
    root = Path(root)
    if part not in LISTS:
        raise ValueError(f"speechocean762 part {part!r} is not one of {', '.join(LISTS)}")
    table = root / LISTS[part]
    if not table.is_file():
        raise ValueError(
            f"{table}: no such list; give the speechocean762 folder "
            "(under AVSR_DATA it is called speechocean762)"
        )
    with open(table, encoding="utf-8", newline="") as lines:
        # The texts hold quotation marks that open nothing.
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing_columns = {"utt", "spk"} - set(rows.fieldnames or ())
        if missing_columns:
            raise ValueError(
                f"{table}:1: lacks the columns {sorted(missing_columns)}; "
                "the first line must name utt, spk, age, gender, seconds, text"
            )
        pool = []
        for number, row in enumerate(rows, 2):
            if not row["utt"] or not row["spk"]:
                raise ValueError(f"{table}:{number}: utterance or speaker is empty; mend the line")
            pool.append((root / "audio" / f"{row['utt']}.ogg", row["spk"]))
    absent = [path for path, _ in pool if not path.is_file()]
    if absent:
        raise ValueError(
            f"{absent[0]}: no such recording, and {len(absent) - 1} more of {len(pool)} that "
            f"{table.name} lists are missing; copy the audio folder again"
        )
    if not pool:
        raise ValueError(f"{table}: lists no recording; copy it again")
    return sorted(pool, key=lambda entry: entry[0].name)


def ambience_and_babble(root: Path) -> NoiseConfig:
    """Noise of the GRID recipes by split; no file and no talker is in two splits.

    Args:
        root: the data folder, with ``noise/`` (recorded ambience) and ``speechocean762/`` (voices).

    Raises:
        ValueError: a missing folder or list; the message names it.
    """
    ambience = recorded_under(root / "noise", root)
    talkers = split_talkers(speechocean_pool(root / "speechocean762"), root, (40, 12, 15))

    def part(index: int, names: tuple[str, ...], *made: str) -> NoiseSplit:
        recorded = tuple(ambience[name] for name in names)
        return NoiseSplit(types=(*names, *made), recorded=recorded, talkers=talkers[index])

    return NoiseConfig(
        root=root,
        train=part(0, TRAIN_AMBIENCE, "white", "pink", "babble_2", "babble_4", "babble_8"),
        valid=part(1, VALID_AMBIENCE, "babble_4", "babble_8"),
        test=part(2, TEST_AMBIENCE, "babble_2", "babble_4", "babble_8"),
    )
