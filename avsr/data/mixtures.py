"""The mixture manifest, its rendering, and random mixtures for training.

A manifest row says everything about one mixture, and rendering a row derives the same samples again
in any order and process. Training mixes on the fly from noise rendered ahead instead.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from avsr import noise
from avsr.data.noise_bank import CLEAN, NoiseBank, NoiseFileUse, is_ill_posed
from avsr.data.published_protocols import check_faults, drawn_for, mix_with_faults
from avsr.data.rooms import DRY, RoomBank, room_response
from avsr.files import read_jsonl, write_jsonl
from avsr.noise import Level, SpeechLevels, check_level, check_snr
from avsr.reverberation import reverberate

DEFAULT_SNRS_DB: tuple[float | None, ...] = (-10, -7.5, -5, -2.5, 0, 2.5, 5, 10, None)
TOLERANCE_DB = 0.01


@dataclass(frozen=True)
class MixtureRow:
    """One mixture of the manifest.

    ``snr_db`` in dB, ``None`` for clean, whose ``noise_type`` is ``"none"``, ``seed`` ``None`` and
    ``noise_gain`` 0. ``achieved_*`` are measured on the mixture. ``clipped``: its peak exceeds full
    scale (it is never clipped in memory). ``matched_noise``: training uses the type too.
    ``ill_posed``: see :func:`is_ill_posed`. ``reverberation`` names the room (``"none"``: dry) and
    ``room_files`` its recording. ``faults`` are those of a published protocol that were asked for
    (:mod:`avsr.data.published_protocols`); ``scale`` is what one of them multiplied the whole
    mixture by. A dry mixture without faults has neither key in its file.
    """

    utterance_id: str
    noise_type: str
    snr_db: float | None
    seed: int | None
    level: Level
    noise_files: tuple[NoiseFileUse, ...]
    noise_gain: float
    achieved_snr_db_utterance: float | None
    achieved_snr_db_active_speech: float | None
    clipped: bool
    matched_noise: bool
    ill_posed: bool
    num_samples: int
    reverberation: str = DRY
    room_files: tuple[NoiseFileUse, ...] = ()
    faults: tuple[str, ...] = ()
    scale: float = 1.0

    @property
    def mixture_id(self) -> str:
        """A name for a file and for lists of hypotheses, such as ``s1_bbaf2n-babble_4--5dB-s0``.

        No other mixture of a manifest has it (:func:`read_manifest` and the builder look).
        """
        name = re.sub(r"[^A-Za-z0-9._]+", "_", self.utterance_id)
        noise_part = "clean" if self.snr_db is None else f"{self.noise_type}-{self.snr_db:g}dB"
        seed = "" if self.seed is None else f"-s{self.seed}"
        room = "" if self.reverberation == DRY else f"-{self.reverberation}"
        return f"{name}-{noise_part}{seed}{room}"

    def to_row(self) -> dict[str, Any]:
        """JSON-ready dict."""
        row = asdict(self)
        kept = {name: row.pop(name) for name in _LATER_FIELDS}
        return row | {n: value for n, value in kept.items() if value != _LATER_FIELDS[n]}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> MixtureRow:
        """The inverse of :meth:`to_row`.

        Raises:
            ValueError: fields are missing or unknown; the message names them.
        """
        names = {entry.name for entry in fields(cls)}
        missing, unknown = names - _LATER_FIELDS.keys() - row.keys(), row.keys() - names
        if missing or unknown:
            raise ValueError(
                f"mixture of {row.get('utterance_id', '?')}: missing fields "
                f"{sorted(missing)}, unknown fields {sorted(unknown)}; build the manifest again"
            )
        files = {
            name: tuple(NoiseFileUse(**use) for use in row.get(name, ()))
            for name in ("noise_files", "room_files")
        }
        return cls(**{**row, **files, "faults": tuple(row.get("faults", ()))})


# Fields that came later: left out where they say nothing, so that older manifests keep their hash.
_LATER_FIELDS: dict[str, Any] = {
    "reverberation": DRY,
    "room_files": (),
    "faults": (),
    "scale": 1.0,
}


@dataclass(frozen=True)
class MixtureManifest:
    """Rows in canonical order, and the SHA-256 of their canonical JSON."""

    rows: tuple[MixtureRow, ...]
    sha256: str


def manifest_sha256(rows: Iterable[MixtureRow]) -> str:
    """SHA-256 of the rows as JSON lines with sorted keys, in canonical order."""
    digest = hashlib.sha256()
    for row in sorted(rows, key=_row_order):
        text = json.dumps(row.to_row(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _row_order(row: MixtureRow) -> tuple[str, str, int, float, str]:
    clean = row.snr_db is None or row.seed is None
    return (
        row.utterance_id,
        row.noise_type,
        -1 if row.seed is None else row.seed,
        math.inf if clean or row.snr_db is None else row.snr_db,
        row.reverberation,
    )


def build_mixture_manifest(
    utterances: Iterable[tuple[str, np.ndarray]],
    bank: NoiseBank,
    *,
    noise_types: Sequence[str],
    snrs_db: Sequence[float | None] = DEFAULT_SNRS_DB,
    seeds: Sequence[int] = (0, 1, 2),
    level: Level = "utterance",
    rooms: RoomBank | None = None,
    reverberations: Sequence[str] = (DRY,),
    faults: Sequence[str] = (),
) -> MixtureManifest:
    """Every (utterance, room, noise type, SNR, seed), and a clean row each where ``None`` is in.

    In a room the SNR refers to the reverberant speech; the noise is added as it is.

    Args:
        utterances: (utterance id, float (S,) at 16 kHz); their order does not matter.
        bank: noise of the split that is evaluated.
        noise_types: types that the bank lists.
        snrs_db: dB; ``None`` is clean.
        seeds: whole numbers from 0 on.
        level: which power of the speech the SNRs refer to.
        rooms: responses, needed where ``reverberations`` names more than ``"none"``.
        reverberations: rooms; ``"none"`` is the dry speech.
        faults: of a published protocol, see :mod:`avsr.data.published_protocols`; the bank must
            have been made by its ``bank_of``.

    Raises:
        ValueError: nothing asked for, repeated utterances, types, levels or seeds, or what
            :func:`avsr.noise.mix_at_snr` refuses, with the utterance's name.
    """
    level = check_level(level)
    snrs = [check_snr(snr) for snr in snrs_db]
    checked = check_faults(faults, bank)
    asked: tuple[tuple[str, Sequence[Any]], ...] = (
        ("noise types", noise_types),
        ("SNRs", snrs),
        ("seeds", seeds),
        ("rooms", reverberations),
    )
    for name, values in asked:
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{name} {list(values)} are empty or repeat; give each once")
    if any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError(f"seeds {list(seeds)} must be whole numbers from 0 on")
    rows: list[MixtureRow] = []
    known: set[str] = set()
    for utterance_id, speech in utterances:
        if utterance_id in known:
            raise ValueError(f"utterance {utterance_id} is given twice; list each once")
        known.add(utterance_id)
        try:
            for room in reverberations:
                response, uses = room_response(rooms, room, utterance_id)
                maker = _RowMaker(utterance_id, bank, level, room, uses, checked)
                wet = speech if response is None else reverberate(speech, response)
                rows.extend(maker.rows(wet, noise_types, snrs, seeds))
        except ValueError as error:
            raise ValueError(f"utterance {utterance_id}: {error}") from error
    if not rows:
        raise ValueError("no utterance to mix; pass (utterance id, waveform) pairs")
    return joined_manifest(rows)


def joined_manifest(rows: Iterable[MixtureRow]) -> MixtureManifest:
    """A manifest of rows that were built apart, in any order.

    Raises:
        ValueError: two mixtures would share a name.
    """
    return _manifest(rows, "mixtures")


def _manifest(rows: Iterable[MixtureRow], where: str) -> MixtureManifest:
    ordered = tuple(sorted(rows, key=_row_order))
    names: dict[str, MixtureRow] = {}
    for row in ordered:
        other = names.setdefault(row.mixture_id, row)
        if other is not row:
            raise ValueError(
                f"{where}: mixtures of {other.utterance_id} and {row.utterance_id} would share the "
                f"name {row.mixture_id}; ids must differ in letters, digits, dots or underscores"
            )
    return MixtureManifest(ordered, manifest_sha256(ordered))


@dataclass(frozen=True)
class _RowMaker:
    """All mixtures of one utterance in one room."""

    utterance_id: str
    bank: NoiseBank
    level: Level
    room: str
    room_files: tuple[NoiseFileUse, ...]
    faults: tuple[str, ...]

    def rows(
        self,
        speech: np.ndarray,
        noise_types: Sequence[str],
        snrs: Sequence[float | None],
        seeds: Sequence[int],
    ) -> Iterable[MixtureRow]:
        levels = noise.measure_speech(speech)
        if None in snrs:
            clean = noise.mix_at_snr(speech, None, None, level=self.level, speech_levels=levels)
            yield self._row(CLEAN, None, None, clean, (), 1.0)
        noisy = [snr for snr in snrs if snr is not None]
        for noise_type in noise_types if noisy else ():
            for seed in seeds:
                drawn: dict[str, tuple[np.ndarray, tuple[NoiseFileUse, ...]]] = {}
                for snr in noisy:
                    key = drawn_for(self.utterance_id, snr, self.faults)
                    if key not in drawn:
                        drawn[key] = self.bank.segment(noise_type, key, seed, len(speech))
                    segment, uses = drawn[key]
                    key = f"{self.utterance_id}/{noise_type}/{seed}"
                    mixture, scale = mix_with_faults(
                        speech, segment, snr, self.level, levels, self.faults, key
                    )
                    yield self._row(noise_type, snr, seed, mixture, uses, scale)

    def _row(
        self,
        noise_type: str,
        snr_db: float | None,
        seed: int | None,
        mixture: noise.Mixture,
        uses: tuple[NoiseFileUse, ...],
        scale: float,
    ) -> MixtureRow:
        return MixtureRow(
            utterance_id=self.utterance_id,
            noise_type=noise_type,
            snr_db=snr_db,
            seed=seed,
            level=mixture.level,
            noise_files=uses,
            # Rounded, so that the last bits of another machine's FFT do not change the hash.
            noise_gain=float(f"{mixture.noise_gain:.8g}"),
            achieved_snr_db_utterance=_rounded(mixture.achieved_snr_db_utterance),
            achieved_snr_db_active_speech=_rounded(mixture.achieved_snr_db_active_speech),
            clipped=mixture.would_clip,
            matched_noise=self.bank.matched(noise_type),
            ill_posed=is_ill_posed(noise_type, snr_db),
            num_samples=len(mixture.waveform),
            reverberation=self.room,
            room_files=self.room_files,
            faults=self.faults,
            scale=float(f"{scale:.8g}"),
        )


def _rounded(value: float | None) -> float | None:
    # + 0.0 turns -0.0 into 0.0, which JSON would tell apart.
    return None if value is None else round(value, 5) + 0.0


def render_mixture(
    row: MixtureRow, speech: np.ndarray, bank: NoiseBank, rooms: RoomBank | None = None
) -> np.ndarray:
    """The mixture of a manifest row, derived again and checked against it.

    Args:
        row: a row of the manifest.
        speech: float (S,), the clean utterance.
        bank: the bank that the manifest was built with (same config and split).
        rooms: the rooms that it was built with, where the row has one.

    Returns:
        float32 (S,), unscaled unless a fault was asked for; it may exceed 1 where ``row.clipped``.

    Raises:
        ValueError: other speech, noise or room than the row was made from: another length, file,
            hash or offset, or a level or gain off by more than 0.01 dB.
    """
    where = f"mixture {row.utterance_id} {row.noise_type} {row.snr_db} dB seed {row.seed}"
    if len(speech) != row.num_samples:
        raise ValueError(
            f"{where}: speech has {len(speech)} samples, the manifest says {row.num_samples}; "
            "build the manifest again or use the corpus that it was built from"
        )
    response, room_files = room_response(rooms, row.reverberation, row.utterance_id)
    if response is not None:
        speech = reverberate(speech, response)
    if row.snr_db is None:
        _same_files(where, "room", room_files, row.room_files)
        return np.asarray(speech, dtype=np.float32).copy()
    if row.seed is None:
        raise ValueError(f"{where}: a noisy mixture needs a seed; build the manifest again")
    key = drawn_for(row.utterance_id, row.snr_db, row.faults)
    segment, uses = bank.segment(row.noise_type, key, row.seed, row.num_samples)
    _same_files(where, "noise", (*uses, *room_files), (*row.noise_files, *row.room_files))
    power = noise.signal_power(speech)
    if row.level == "utterance":  # P.56 is measured only where the level is defined by it
        levels = SpeechLevels(power, power, 1.0)
        achieved = row.achieved_snr_db_utterance
    else:
        levels = noise.measure_speech(speech)
        achieved = row.achieved_snr_db_active_speech
    key = f"{row.utterance_id}/{row.noise_type}/{row.seed}"
    mixture, scale = mix_with_faults(
        speech, segment, row.snr_db, row.level, levels, row.faults, key
    )
    if not row.noise_gain or not mixture.noise_gain:
        drift_db = 0.0 if row.noise_gain == mixture.noise_gain else math.inf
    else:
        drift_db = abs(20 * math.log10(mixture.noise_gain * scale / row.noise_gain / row.scale))
    measured = (
        mixture.achieved_snr_db_utterance
        if row.level == "utterance"
        else mixture.achieved_snr_db_active_speech
    )
    same = achieved == measured if None in (achieved, measured) else _close(achieved, measured)
    if drift_db > TOLERANCE_DB or not same:
        raise ValueError(
            f"{where}: gain {mixture.noise_gain:.6g} and SNR {measured} dB differ from the "
            f"manifest's {row.noise_gain:.6g} and {achieved}; the speech or the noise has changed"
        )
    return mixture.waveform.astype(np.float32)


def _close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= TOLERANCE_DB


def _same_files(
    where: str, kind: str, found: tuple[NoiseFileUse, ...], wanted: tuple[NoiseFileUse, ...]
) -> None:
    if found != wanted:
        raise ValueError(
            f"{where}: {kind} files, hashes or offsets differ from the manifest's; "
            f"restore the {kind} folder and config, or build the manifest again"
        )


def write_manifest(path: Path | str, manifest: MixtureManifest) -> None:
    """Write the rows as JSON lines, atomically."""
    write_jsonl(path, (row.to_row() for row in manifest.rows))


def read_manifest(path: Path | str) -> MixtureManifest:
    """Rows of a manifest file and their hash.

    Raises:
        ValueError: a broken line or row; the message names file and row.
    """
    rows = []
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            rows.append(MixtureRow.from_row(row))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: row {number}: {error}") from error
    return _manifest(rows, str(path))
