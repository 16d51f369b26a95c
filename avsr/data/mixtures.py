"""The mixture manifest, its rendering, and random mixtures for training.

A manifest row says everything about one mixture, and rendering a row derives the same samples again
in any order and process. Training mixes on the fly from noise rendered ahead instead.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from avsr import noise
from avsr.data.noise_bank import CLEAN, NoiseBank, NoiseFileUse, is_ill_posed
from avsr.files import read_jsonl, write_jsonl
from avsr.noise import Level, SpeechLevels, check_level, check_snr

DEFAULT_SNRS_DB: tuple[float | None, ...] = (-10, -7.5, -5, -2.5, 0, 2.5, 5, 10, None)
TOLERANCE_DB = 0.01


@dataclass(frozen=True)
class MixtureRow:
    """One mixture of the manifest.

    ``snr_db`` in dB, ``None`` for clean, whose ``noise_type`` is ``"none"``, ``seed`` ``None`` and
    ``noise_gain`` 0. ``achieved_*`` are measured on the mixture. ``clipped``: its peak exceeds full
    scale (it is never clipped in memory). ``matched_noise``: training uses the type too.
    ``ill_posed``: see :func:`is_ill_posed`.
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

    def to_row(self) -> dict[str, Any]:
        """JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> MixtureRow:
        """The inverse of :meth:`to_row`.

        Raises:
            ValueError: fields are missing or unknown; the message names them.
        """
        names = {entry.name for entry in fields(cls)}
        if row.keys() != names:
            raise ValueError(
                f"mixture of {row.get('utterance_id', '?')}: missing fields "
                f"{sorted(names - row.keys())}, unknown fields {sorted(row.keys() - names)}; "
                "build the manifest again"
            )
        files = tuple(NoiseFileUse(**use) for use in row["noise_files"])
        return cls(**{**row, "noise_files": files})


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


def _row_order(row: MixtureRow) -> tuple[str, str, int, float]:
    clean = row.snr_db is None or row.seed is None
    return (
        row.utterance_id,
        row.noise_type,
        -1 if row.seed is None else row.seed,
        math.inf if clean or row.snr_db is None else row.snr_db,
    )


def build_mixture_manifest(
    utterances: Iterable[tuple[str, np.ndarray]],
    bank: NoiseBank,
    *,
    noise_types: Sequence[str],
    snrs_db: Sequence[float | None] = DEFAULT_SNRS_DB,
    seeds: Sequence[int] = (0, 1, 2),
    level: Level = "utterance",
) -> MixtureManifest:
    """Every (utterance, noise type, SNR, seed), and a clean row each where ``None`` is in.

    Args:
        utterances: (utterance id, float (S,) at 16 kHz); their order does not matter.
        bank: noise of the split that is evaluated.
        noise_types: types that the bank lists.
        snrs_db: dB; ``None`` is clean.
        seeds: whole numbers from 0 on.
        level: which power of the speech the SNRs refer to.

    Raises:
        ValueError: nothing asked for, repeated utterances, types, levels or seeds, or what
            :func:`avsr.noise.mix_at_snr` refuses, with the utterance's name.
    """
    level = check_level(level)
    snrs = [check_snr(snr) for snr in snrs_db]
    for name, values in (("noise types", noise_types), ("SNRs", snrs), ("seeds", seeds)):
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
            rows.extend(_rows_of(utterance_id, speech, bank, noise_types, snrs, seeds, level))
        except ValueError as error:
            raise ValueError(f"utterance {utterance_id}: {error}") from error
    if not rows:
        raise ValueError("no utterance to mix; pass (utterance id, waveform) pairs")
    ordered = tuple(sorted(rows, key=_row_order))
    return MixtureManifest(ordered, manifest_sha256(ordered))


def _rows_of(
    utterance_id: str,
    speech: np.ndarray,
    bank: NoiseBank,
    noise_types: Sequence[str],
    snrs: Sequence[float | None],
    seeds: Sequence[int],
    level: Level,
) -> Iterable[MixtureRow]:
    levels = noise.measure_speech(speech)
    if None in snrs:
        clean = noise.mix_at_snr(speech, None, None, level=level, speech_levels=levels)
        yield _row(utterance_id, CLEAN, None, clean, (), bank)
    noisy = [snr for snr in snrs if snr is not None]
    for noise_type in noise_types if noisy else ():
        for seed in seeds:
            segment, uses = bank.segment(noise_type, utterance_id, seed, len(speech))
            for snr in noisy:
                mixture = noise.mix_at_snr(speech, segment, snr, level=level, speech_levels=levels)
                yield _row(utterance_id, noise_type, seed, mixture, uses, bank)


def _row(
    utterance_id: str,
    noise_type: str,
    seed: int | None,
    mixture: noise.Mixture,
    uses: tuple[NoiseFileUse, ...],
    bank: NoiseBank,
) -> MixtureRow:
    return MixtureRow(
        utterance_id=utterance_id,
        noise_type=noise_type,
        snr_db=mixture.snr_db,
        seed=seed,
        level=mixture.level,
        noise_files=uses,
        # Rounded, so that the last bits of another machine's FFT do not change the hash.
        noise_gain=float(f"{mixture.noise_gain:.8g}"),
        achieved_snr_db_utterance=_rounded(mixture.achieved_snr_db_utterance),
        achieved_snr_db_active_speech=_rounded(mixture.achieved_snr_db_active_speech),
        clipped=mixture.would_clip,
        matched_noise=bank.matched(noise_type),
        ill_posed=is_ill_posed(noise_type, mixture.snr_db),
        num_samples=len(mixture.waveform),
    )


def _rounded(value: float | None) -> float | None:
    # + 0.0 turns -0.0 into 0.0, which JSON would tell apart.
    return None if value is None else round(value, 5) + 0.0


def render_mixture(row: MixtureRow, speech: np.ndarray, bank: NoiseBank) -> np.ndarray:
    """The mixture of a manifest row, derived again and checked against it.

    Args:
        row: a row of the manifest.
        speech: float (S,), the clean utterance.
        bank: the bank that the manifest was built with (same config and split).

    Returns:
        float32 (S,), unscaled; it may exceed 1 where ``row.clipped``.

    Raises:
        ValueError: other speech or noise than the row was made from: another length, file, hash or
            offset, or a level or gain off by more than 0.01 dB.
    """
    where = f"mixture {row.utterance_id} {row.noise_type} {row.snr_db} dB seed {row.seed}"
    if len(speech) != row.num_samples:
        raise ValueError(
            f"{where}: speech has {len(speech)} samples, the manifest says {row.num_samples}; "
            "build the manifest again or use the corpus that it was built from"
        )
    if row.snr_db is None:
        return np.asarray(speech, dtype=np.float32).copy()
    if row.seed is None:
        raise ValueError(f"{where}: a noisy mixture needs a seed; build the manifest again")
    segment, uses = bank.segment(row.noise_type, row.utterance_id, row.seed, row.num_samples)
    if uses != row.noise_files:
        raise ValueError(
            f"{where}: noise files, hashes or offsets differ from the manifest's; "
            "restore the noise folder and config, or build the manifest again"
        )
    powers = noise.signal_power(speech), noise.signal_power(segment)
    if row.level == "utterance":  # P.56 is measured only where the level is defined by it
        levels = SpeechLevels(powers[0], powers[0], 1.0)
        achieved = row.achieved_snr_db_utterance
    else:
        levels = noise.measure_speech(speech)
        achieved = row.achieved_snr_db_active_speech
    mixture = noise.mix_at_snr(speech, segment, row.snr_db, level=row.level, speech_levels=levels)
    drift_db = abs(20 * math.log10(mixture.noise_gain / row.noise_gain))
    measured = 10 * math.log10(levels.of(row.level) / noise.signal_power(mixture.waveform - speech))
    if achieved is None or drift_db > TOLERANCE_DB or abs(measured - achieved) > TOLERANCE_DB:
        raise ValueError(
            f"{where}: gain {mixture.noise_gain:.6g} and SNR {measured:.3f} dB differ from the "
            f"manifest's {row.noise_gain:.6g} and {achieved}; the speech or the noise has changed"
        )
    return mixture.waveform.astype(np.float32)


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
    ordered = tuple(sorted(rows, key=_row_order))
    return MixtureManifest(ordered, manifest_sha256(ordered))


@dataclass(frozen=True)
class RandomMixture:
    """A training mixture: float32 (S,), its noise type (``"none"`` if clean) and SNR in dB."""

    waveform: np.ndarray
    noise_type: str
    snr_db: float | None


def random_mixture(
    speech: np.ndarray,
    bank: NoiseBank,
    generator: np.random.Generator,
    snr_range_db: tuple[float, float] = (-10.0, 20.0),
    clean_probability: float = 0.2,
) -> RandomMixture:
    """Speech with random noise of a random type at a uniformly random SNR over the utterance.

    The first call renders the bank's pools (:meth:`NoiseBank.warm`).

    Args:
        speech: float (S,).
        bank: noise of the training split.
        generator: source of all randomness; the same state gives the same mixture.
        snr_range_db: lowest and highest SNR in dB.
        clean_probability: share of mixtures that get no noise, in [0, 1].

    Raises:
        ValueError: an impossible range or probability, or silent speech.
    """
    low, high = check_snr(snr_range_db[0]), check_snr(snr_range_db[1])
    if low is None or high is None or low > high or not 0 <= clean_probability <= 1:
        raise ValueError(
            f"SNR range {snr_range_db} must ascend and clean probability {clean_probability} lie "
            "in [0, 1]"
        )
    if generator.random() < clean_probability:
        return RandomMixture(np.array(speech, dtype=np.float32), CLEAN, None)
    segment, noise_type = bank.random_segment(generator, len(speech))
    snr_db = float(generator.uniform(low, high))
    powers = noise.signal_power(speech), noise.signal_power(segment)
    if powers[0] <= noise.SILENCE_RMS**2:
        raise ValueError(f"speech of {len(speech)} samples is silent; remove the utterance")
    if powers[1] <= noise.SILENCE_RMS**2:  # a pause in a recording: nothing there to scale up
        return RandomMixture(np.array(speech, dtype=np.float32), CLEAN, None)
    gain = np.float32(noise.noise_gain_for(powers[0], powers[1], snr_db))
    return RandomMixture((speech + gain * segment).astype(np.float32), noise_type, snr_db)
