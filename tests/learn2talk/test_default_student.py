"""The student that comes with the package: there, small, described, and usable at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import learn2talk
from avsr.files import sha256_file
from learn2talk import default_student
from learn2talk.animate import animate
from learn2talk.cli import main
from learn2talk.files import load_motion, load_student
from learn2talk.metrics import lip_gap_mm
from learn2talk.schema import Motion

MOST_BYTES = 12_000_000


def sine(seconds: float, level: float = 0.3) -> np.ndarray:
    """A buzz with the harmonics of a voice."""
    time = np.arange(round(16000 * seconds)) / 16000
    voice = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 20))
    return (level * voice / np.abs(voice).max()).astype(np.float32)


def lip_speed(motion: Motion) -> float:
    """Mean speed of the lip points, mm/s."""
    return float(np.linalg.norm(np.diff(motion.lips, axis=0), axis=-1).mean() * motion.fps)


def test_it_is_small_and_described() -> None:
    folder = default_student.default_student()
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["README.md", "student.json", "student.safetensors", "template.npz"]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("## Data", "## Licence", "## Figures", "## Limits"):
        assert part in card
    # The card is of these very weights.
    assert sha256_file(folder / "student.safetensors") in card


def test_three_lines_move_a_face() -> None:
    motion = learn2talk.animate(sine(1.0))
    assert motion.vertices.shape == (25, 2500, 3) and np.isfinite(motion.vertices).all()


def test_the_command_needs_no_student(tmp_path: Path) -> None:
    from avsr.files import write_wav

    write_wav(tmp_path / "speech.wav", sine(0.5))
    main(["animate", str(tmp_path / "speech.wav"), "--out", str(tmp_path / "face.npz")])
    motion, told = load_motion(tmp_path / "face.npz")
    assert len(motion.vertices) == 13
    kept = load_student(default_student.default_student()).provenance["student_sha256"]
    assert told["student"]["student_sha256"] == kept


@pytest.mark.parametrize("level_db", [None, -80.0, -60.0])
def test_silence_is_a_closed_still_mouth(level_db: float | None) -> None:
    """Digital silence, a recorder's own noise, a quiet room; the ends of a sound are its edges."""
    sound = np.zeros(16000 * 4, np.float32)
    if level_db is not None:
        noise = np.random.default_rng(0).standard_normal(len(sound))
        sound = (10 ** (level_db / 20) * noise).astype(np.float32)
    motion = animate(sound)
    rest = lip_gap_mm(motion.template.lips[None])[0]
    assert np.abs(lip_gap_mm(motion.lips) - rest).max() < 1.0  # mm
    assert lip_speed(motion) < 4.0  # mm/s


def test_missing_files_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(default_student, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="the bundled student is missing; install"):
        default_student.default_student()
