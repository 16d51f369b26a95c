"""A noisy test as a folder: rendered for outside recognisers, audited, decoded, scored against.

    <folder>/test.json        settings, texts and speakers, noise with its folders, hashes
    <folder>/mixtures.jsonl   the mixture manifest, :mod:`avsr.data.mixtures`

:func:`load` reads what `avsr.noisy_test_building.build` made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avsr.conditions import ExpectedUtterance, Protocol
from avsr.data.mixtures import (
    MixtureManifest,
    MixtureRow,
    read_manifest,
)
from avsr.data.noise_bank import (
    NoiseBank,
    NoiseConfig,
    NoiseSplit,
    TalkerFile,
)
from avsr.data.published_protocols import bank_of
from avsr.data.rooms import RoomBank
from avsr.data.utterance_list import UtteranceList, read_utterance_list
from avsr.files import read_json

SCHEMA = "avsr.noisy_test"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class NoisyTest:
    """A test that was built: what to decode, and what to score against."""

    folder: Path
    utterances: UtteranceList
    manifest: MixtureManifest
    noise: NoiseConfig
    rooms: RoomBank
    facts: dict[str, Any] = field(repr=False)

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults that were asked for."""
        return tuple(self.facts["faults"])

    def bank(self) -> NoiseBank:
        """The noise, as the manifest was built with it."""
        return bank_of(self.noise, "test", self.faults)

    def mixtures_of(self) -> dict[str, list[MixtureRow]]:
        """The manifest's rows by utterance."""
        found: dict[str, list[MixtureRow]] = {}
        for row in self.manifest.rows:
            found.setdefault(row.utterance_id, []).append(row)
        return found


def load(folder: Path) -> NoisyTest:
    """A test from its folder.

    Raises:
        ValueError: no test, another schema, or a manifest that is not the one it was built with.
    """
    facts = read_test_facts(folder)
    manifest = read_manifest(folder / "mixtures.jsonl")
    if manifest.sha256 != facts["manifest_sha256"]:
        raise ValueError(
            f"{folder / 'mixtures.jsonl'}: hash {manifest.sha256[:12]} is not the "
            f"{facts['manifest_sha256'][:12]} that test.json names; it was changed, build it again"
        )
    utterances = read_utterance_list(Path(facts["corpus_source"]), facts["split"])
    return NoisyTest(folder, utterances, manifest, noise_of(facts), rooms_of(facts), facts)


def expected_of(facts: dict[str, Any]) -> list[ExpectedUtterance]:
    """The test list of a test's facts: what every hypothesis is scored against."""
    return [ExpectedUtterance(*one) for one in facts["utterances"]]


def read_test_facts(folder: Path) -> dict[str, Any]:
    """``test.json``, checked: all that scoring needs, without the sound.

    Raises:
        ValueError: no test, or one of another schema.
    """
    path = folder / "test.json"
    if not path.is_file():
        raise ValueError(f"{folder}: holds no noisy test (test.json); make one: avsr noise build")
    facts = read_json(path)
    found = (facts.get("schema"), facts.get("schema_version")) if isinstance(facts, dict) else None
    if found != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(
            f"{path}: is {found}, this program reads {SCHEMA!r} version {SCHEMA_VERSION}; "
            "build the test again"
        )
    checked: dict[str, Any] = facts
    return checked


def protocol_of(
    facts: dict[str, Any],
    manifest: MixtureManifest,
    *,
    synthetic: bool = False,
    speaker_dependent: bool = False,
    video_conditions: Sequence[str] = ("clean",),
    notes: Sequence[str] = (),
    selection: str = "",
    spell_numbers: bool = False,
) -> Protocol:
    """The protocol of a test, as it stands in results."""
    used: dict[str, set[str]] = {kind: set() for kind in facts["noise"]["types"]}
    for row in manifest.rows:
        if row.noise_type in used:
            used[row.noise_type] |= {use.path for use in row.noise_files}
    return Protocol(
        corpus=facts["corpus"],
        split=facts["split"],
        synthetic=synthetic,
        speaker_dependent=speaker_dependent,
        snrs_db=tuple(facts["snrs_db"]),
        seeds=tuple(facts["seeds"]),
        test_noises={kind: tuple(sorted(files)) for kind, files in used.items()},
        training_noises={
            **dict.fromkeys(facts["training_noise_types"], ()),
            **({"shared": tuple(shared)} if (shared := facts["shared_with_training"]) else {}),
        },
        training_noise_known=facts["training_noise_known"],
        snr_definition=facts["level"],
        selection=selection,
        notes=tuple(notes),
        video_conditions=tuple(video_conditions),
        reverberations=tuple(facts["reverberations"]),
        preset=facts["preset"],
        faults=tuple(facts["faults"]),
        spell_numbers=spell_numbers,
    )


def noise_of(facts: dict[str, Any]) -> NoiseConfig:
    """The noise of a test's facts, as it was built with it."""
    kept = facts["noise"]
    split = NoiseSplit(
        types=tuple(kept["types"]),
        pools={kind: tuple(files) for kind, files in kept["pools"].items()},
        talkers=tuple(TalkerFile(*one) for one in kept["talkers"]),
    )
    spectrum = kept["speech_spectrum"]
    return NoiseConfig(
        root=Path("/"),
        test=split,
        speech_spectrum=None if spectrum is None else tuple(spectrum),
        places={name: Path(path) for name, path in kept["places"].items()},
    )


def rooms_of(facts: dict[str, Any]) -> RoomBank:
    """The measured rooms of a test's facts."""
    return RoomBank({name: Path(path) for name, path in facts["rooms"].items()})
