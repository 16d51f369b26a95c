"""The kinds of pretrained encoders that read the waveform."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["wav2vec2", "hubert", "wavlm"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
