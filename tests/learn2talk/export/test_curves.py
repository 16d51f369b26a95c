"""Curves as files: Live Link Face's columns and timecode, and JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from learn2talk.export.arkit import ArkitCurves
from learn2talk.export.curves import LIVE_LINK_COLUMNS, write_arkit_json, write_live_link_csv
from learn2talk.export.shapes import ARKIT_NAMES

# The first line of a file that the app exports.
HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,"
    "EyeLookUpLeft,EyeSquintLeft,EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,"
    "EyeLookOutRight,EyeLookUpRight,EyeSquintRight,EyeWideRight,JawForward,JawRight,JawLeft,"
    "JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,MouthSmileLeft,"
    "MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,"
    "MouthStretchLeft,MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,"
    "MouthShrugUpper,MouthPressLeft,MouthPressRight,MouthLowerDownLeft,MouthLowerDownRight,"
    "MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,"
    "BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,"
    "RightEyePitch,RightEyeRoll"
)


def curves(jaw: list[float], fps: float = 25.0) -> ArkitCurves:
    weights = np.zeros((len(jaw), 52), np.float32)
    weights[:, ARKIT_NAMES.index("jawOpen")] = jaw
    return ArkitCurves(weights, fps, ("jawOpen",), "tests", 0.1, 0.5, 0.2, 0.9)


def test_csv_at_the_motions_own_rate_is_golden(tmp_path: Path) -> None:
    write_live_link_csv(tmp_path / "a.csv", curves([0.0, 0.25, 1.0]), fps=25)
    zero = "0.00000000"
    rows = [
        ",".join([f"00:00:00:0{i}.000", "61"] + [zero] * 17 + [jaw] + [zero] * 34 + [zero] * 9)
        for i, jaw in enumerate([zero, "0.25000000", "1.00000000"])
    ]
    assert (tmp_path / "a.csv").read_text() == "\n".join([HEADER, *rows]) + "\n"
    assert ",".join(LIVE_LINK_COLUMNS) == HEADER


def test_csv_is_resampled_to_the_apps_rate(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 26).tolist()
    write_live_link_csv(tmp_path / "a.csv", curves(ramp))
    with open(tmp_path / "a.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 62  # 26 frames last 1.04 s
    assert [rows[i]["Timecode"] for i in (0, 59, 60)] == [
        "00:00:00:00.000",
        "00:00:00:59.000",
        "00:00:01:00.000",
    ]
    jaw = np.array([float(row["JawOpen"]) for row in rows])
    np.testing.assert_allclose(jaw, np.minimum(np.arange(62) / 60, 1.0), atol=1e-6)


def test_timecode_carries_into_minutes_and_hours(tmp_path: Path) -> None:
    write_live_link_csv(tmp_path / "a.csv", curves([0.5] * 3662, fps=1.0), fps=1)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[3662].startswith("01:01:01:00.000,61,")


@pytest.mark.parametrize("fps", [29.97, 0, -25, 120, float("nan"), float("inf")])
def test_rates_that_a_timecode_cannot_express_are_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="cannot express .* frames a second; give a whole number"):
        write_live_link_csv(tmp_path / "a.csv", curves([0.0]), fps=fps)
    assert not (tmp_path / "a.csv").exists()


def test_a_motion_of_a_day_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="last 86401 s; a timecode ends after 86400 s"):
        write_live_link_csv(tmp_path / "a.csv", curves([0.0] * 86401, fps=1.0), fps=1)


def test_json_holds_every_frame_at_the_motions_rate(tmp_path: Path) -> None:
    given = curves([0.0, 0.25, 1.0], fps=29.97)
    write_arkit_json(tmp_path / "a.json", given, {"audio": "a.wav"})
    read = json.loads((tmp_path / "a.json").read_text())
    assert read["names"] == list(ARKIT_NAMES) and read["fps"] == 29.97 and read["num_frames"] == 3
    np.testing.assert_allclose(read["frames"], given.weights, atol=1e-6)
    assert read["driven"] == ["jawOpen"] and read["provenance"] == {"audio": "a.wav"}
    assert read["lip_residual_mm"] == 0.1 and read["format"] == "arkit-52"
