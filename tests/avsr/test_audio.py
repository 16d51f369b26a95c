"""Log-mel: four frames a video frame, the same alone and padded, tones in their bands."""

from __future__ import annotations

import math

import pytest
import torch

from avsr.audio import POWER_FLOOR, StreamingLogMel, log_mel, whisper_log_mel


@pytest.mark.parametrize(("samples", "frames"), [(1, 4), (640, 4), (641, 8), (1280, 8), (6400, 40)])
def test_four_frames_for_each_video_frame(samples: int, frames: int) -> None:
    out = log_mel(torch.zeros(2, samples), 40)
    assert out.shape == (2, frames, 40) and out.dtype == torch.float32


@pytest.mark.parametrize("samples", [1, 639, 640, 3000])
def test_alone_and_zero_padded_are_equal(samples: int) -> None:
    waveform = torch.rand(1, samples, generator=torch.Generator().manual_seed(0)) - 0.5
    alone = log_mel(waveform)
    padded = log_mel(torch.nn.functional.pad(waveform, (0, 5000)))
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone, rtol=0, atol=1e-6)


def test_silence_is_the_floor() -> None:
    assert torch.allclose(log_mel(torch.zeros(1, 640)), torch.tensor(math.log(POWER_FLOOR)))


def test_click_is_heard_in_its_own_video_frame() -> None:
    waveform = torch.zeros(1, 6400)
    waveform[0, 640 * 6 + 320] = 1.0
    loud = log_mel(waveform).mean(-1)[0].reshape(10, 4).max(1).values
    assert loud.argmax() == 6
    assert int(log_mel(waveform).mean(-1)[0].argmax()) in (25, 26)  # centred at 160 k + 80


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 4000.0])
def test_tone_is_loudest_in_its_band_and_doubling_adds_its_square(hertz: float) -> None:
    time = torch.arange(6400) / 16000
    tone = 0.3 * torch.sin(2 * math.pi * hertz * time)[None]
    out = log_mel(tone)[0, 8:-8]

    def mel(f: float) -> float:  # HTK
        return 2595 * math.log10(1 + f / 700)

    expected = (mel(hertz) - mel(20)) / (mel(8000) - mel(20)) * 81 - 1
    assert abs(float(out.mean(0).argmax()) - expected) <= 1.0
    louder = log_mel(2 * tone)[0, 8:-8]
    band = int(out.mean(0).argmax())
    torch.testing.assert_close(
        (louder - out)[:, band].mean(), torch.tensor(math.log(4)), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("shape", [(0,), (640,), (1, 0), (1, 1, 640)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="log_mel takes"):
        log_mel(torch.zeros(*shape))


@pytest.mark.parametrize("num_mels", [80, 128])
def test_whisper_log_mel_is_the_start_of_the_padded_one(num_mels: int) -> None:
    transformers = pytest.importorskip("transformers")
    waveform = 0.3 * torch.randn(6400, generator=torch.Generator().manual_seed(0))
    extractor = transformers.WhisperFeatureExtractor(feature_size=num_mels)
    padded = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    own = whisper_log_mel(waveform[None], torch.tensor([6400]), num_mels)
    assert own.shape == (1, 40, num_mels)
    torch.testing.assert_close(own[0], padded[0, :, :40].T, rtol=0, atol=1e-4)


def test_whisper_log_mel_knows_only_its_own_utterance() -> None:
    waveform = torch.randn(2, 6400, generator=torch.Generator().manual_seed(0))
    waveform[0] *= 10  # the other one is louder: its maximum must not limit this one
    waveform[1, 3200:] = 0
    both = whisper_log_mel(waveform, torch.tensor([6400, 3200]))
    alone = whisper_log_mel(waveform[1:, :3200], torch.tensor([3200]))
    torch.testing.assert_close(both[1:, :20], alone, rtol=0, atol=1e-6)
    # 8 decades below the loudest, and the scale divides by 4
    assert torch.allclose(both[1, 20:], alone.max() - 2.0, atol=1e-6)


def test_streamed_features_wait_for_their_window() -> None:
    stream = StreamingLogMel(num_mels=40)
    assert stream.push(torch.zeros(640 + stream.look_ahead_samples - 1)).shape == (3, 40)
    assert stream.push(torch.zeros(1)).shape == (1, 40)  # the frame is whole, 7.5 ms after its end
    assert stream.finish().shape == (4, 40)
    assert StreamingLogMel().finish().shape == (0, 80)  # nothing in, nothing out
