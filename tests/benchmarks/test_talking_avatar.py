"""The page of the avatars' benchmark, made from numbers that can be counted."""

from __future__ import annotations

import pytest

from benchmarks.published.avatars import mean_with_interval, text_of


def test_a_mean_with_its_interval_over_films() -> None:
    same = mean_with_interval([2.0, 2.0, 2.0])
    assert (same["value"], same["low"], same["high"], same["n"]) == (2.0, 2.0, 2.0, 3)
    found = mean_with_interval([1.0, 3.0] * 50)
    assert found["value"] == pytest.approx(2.0)
    # The mean of 100 draws of 1 or 3 has the standard error 0.1.
    assert found["low"] == pytest.approx(2.0 - 0.196, abs=0.03)
    assert found["high"] == pytest.approx(2.0 + 0.196, abs=0.03)


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.5, "high": value + 0.5, "n": 2}


def areas(psnr: float | None, ssim: float) -> dict[str, dict[str, float | None]]:
    return {area: {"psnr_db": psnr, "ssim": ssim} for area in ("picture", "head", "mouth")}


def test_the_page_has_every_figure() -> None:
    between = {"psnr_db": figure(31.0), "ssim": figure(0.9)}
    sync = {"films": 2, "of": 3}
    sync |= {name: figure(7.0) for name in ("offset_ms", "offset_absolute_ms", "lse_d", "lse_c")}
    rate = {"value": 0.25, "low": 0.2, "high": 0.3}
    found = {
        "avatars": {
            "s1_one": {
                "frames_fitted": 67,
                "frames_held_out": 8,
                "quality": {"avatar": areas(33.3, 0.912), "nearest": areas(None, 1.0)},
            }
        },
        "films": {"speech": dict.fromkeys(("picture", "head", "mouth"), between)},
        "clips": ["a", "b"],
        "sync": {"speech": sync},
        "reading": {"bundled": {"speech@film": {"wer": rate, "ver": rate}}},
        "provenance": {"command": "c", "commit": "0123456789abcdef", "processor": "p"},
    }
    text = text_of(found)
    assert "| s1_one | 67, 8 | the avatar | 33.3, 0.912 | 33.3, 0.912 | 33.3, 0.912 |" in text
    assert "the same, 1.000" in text
    assert "31.0 [30.5, 31.5], 0.900 [0.400, 1.400]" in text
    assert "| 7 [6, 8] | 7 [6, 8] | 7.000 [6.500, 7.500] |" in text
    assert "2 of 3" in text
    assert "| speech@film | 25.0 [20.0, 30.0] | 25.0 [20.0, 30.0] |" in text
    assert "0123456789ab" in text
    without = text_of({**found, "reading": None})
    assert "lip reader reads" not in without
