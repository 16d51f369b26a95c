"""Samples with faces and without, with one sound, several or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.report_samples import ReportSample
from avsr.report_sections.samples import samples
from tests.avsr.made_up_report import made_up_samples


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[ReportSample]:
    return made_up_samples(tmp_path_factory.mktemp("media"))


def test_each_sound_has_a_player_a_button_and_its_transcripts(shown: list[ReportSample]) -> None:
    page = samples(shown[:1])
    assert page.count("<audio") == page.count('type="radio"') == 3
    parts = page.split("data-choice=")[1:]
    assert [part.startswith(f'"{i}"') for i, part in enumerate(parts)] == [True] * 3
    assert [" hidden>" in part[:12] for part in parts] == [False, True, True]
    assert "all 6 words right" in parts[0] and "6 of 6 words wrong" not in parts[0]
    assert "3 of 6 words wrong" in parts[1] and "all 6 words right" in parts[1]
    assert "6 of 6 words wrong" in parts[2]


def test_a_sample_may_have_two_faces_one_or_none(shown: list[ReportSample]) -> None:
    pages = [samples([one]) for one in shown]
    assert [page.count("<video") for page in pages] == [2, 1, 0]
    assert [page.count('class="play"') for page in pages] == [1, 1, 0]
    assert [page.count("Sound of") for page in pages] == [1, 0, 0]
    assert "<h2>Faces, sounds and transcripts" in pages[0]
    assert "<h2>Sounds and transcripts" in pages[2]


def test_one_sound_needs_no_choice_and_one_unread_is_told(shown: list[ReportSample]) -> None:
    one = samples([shown[1]])
    assert "radio" not in one and '<p class="sound-label">clean</p>' in one
    assert samples([shown[2]]).count("No system transcribed this sound.") == 2


def test_transcripts_without_a_sound_can_be_chosen_too(tmp_path: Path) -> None:
    texts = {"babble": {"A": "a"}, "street": {"A": "b"}}
    page = samples([ReportSample("u", "a b", transcripts=texts)])
    assert page.count('type="radio"') == 2 and "<audio" not in page
    assert "Said" in samples([ReportSample("u", "a b")])


def test_radio_groups_of_two_samples_are_apart(shown: list[ReportSample]) -> None:
    page = samples([shown[0], shown[2]])
    assert page.count('name="sound-0"') == page.count('name="sound-1"') == 3
