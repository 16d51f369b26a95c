"""Samples: faces that are played together, sounds to choose from, the transcripts of each."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from avsr.files import MediaError
from avsr.report_samples import ReportSample
from avsr.report_sections.html_parts import data_uri, radio_chooser, section
from avsr.text import normalise
from avsr.transcripts import align_words, error_summary, transcript_html


def samples(shown: Sequence[ReportSample]) -> str:
    """All samples, in this order.

    Raises:
        MediaError: a film or sound is not what a browser plays; the message names it.
    """
    key = (
        '<p class="caption">In the transcripts: <span class="w sub"><u>heard</u><small>said'
        '</small></span> a wrong word, above what was said; <del class="w del">said</del> a '
        'missed word; <ins class="w ins">+heard</ins> an added word.</p>'
    )
    body = "".join(_sample(index, sample) for index, sample in enumerate(shown))
    faces = any(one.faces for one in shown)
    title = "Faces, sounds and transcripts" if faces else "Sounds and transcripts"
    lead = "Choose a sound to hear it and to read what each system made of it."
    if faces:
        lead += " Faces of one sample are played together."
    return section("samples", title, f"<p>{lead}</p>{key}{body}")


def _sample(index: int, sample: ReportSample) -> str:
    condition = f"<p>{escape(sample.condition)}</p>" if sample.condition else ""
    return (
        f'<article class="sample" aria-labelledby="sample-{index}"><header>'
        f'<h3 id="sample-{index}">{escape(sample.title)}</h3>{condition}</header>'
        f"{_faces(sample) if sample.faces else ''}{_conditions(index, sample)}</article>"
    )


def _faces(sample: ReportSample) -> str:
    figures = "".join(
        f'<figure><video src="{_film(media, sample.title, label)}" playsinline preload="auto" '
        f'aria-label="{escape(label)}: {escape(sample.title)}"></video>'
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for label, media in sample.faces.items()
    )
    several = len(sample.faces) > 1
    sound = ""
    if several:
        options = "".join(
            f'<option value="{i}">{escape(label)}</option>' for i, label in enumerate(sample.faces)
        )
        sound = f'<label>Sound of <select autocomplete="off">{options}</select></label>'
    return (
        f'<div class="faces{"" if several else " one"}">{figures}</div>'
        '<div class="controls"><button type="button" class="play">Play</button>'
        '<input type="range" min="0" max="1000" value="0" step="1" autocomplete="off" '
        f'aria-label="Position in {escape(sample.title)}"><output></output>{sound}</div>'
    )


def _conditions(index: int, sample: ReportSample) -> str:
    """Each sound with its player and transcripts; a choice where there are several."""
    labels = list(dict.fromkeys((*sample.sounds, *sample.transcripts)))
    parts = [_condition(sample, label) for label in labels]
    if not parts:
        return _transcripts(sample, {})
    if len(parts) == 1:
        return f'<p class="sound-label">{escape(labels[0])}</p>{parts[0]}'
    name = "Sound" if sample.sounds else "Condition"
    choices = list(zip(labels, parts, strict=True))
    return radio_chooser(name, f"sound-{index}", choices)


def _condition(sample: ReportSample, label: str) -> str:
    player = ""
    if label in sample.sounds:
        content = _media(sample.sounds[label], sample.title, label, _is_wav, "a WAV")
        player = (
            f'<audio controls preload="metadata" src="{data_uri("audio/wav", content)}" '
            f'aria-label="{escape(label)}: {escape(sample.title)}"></audio>'
        )
    return player + _transcripts(sample, sample.transcripts.get(label))


def _transcripts(sample: ReportSample, texts: Mapping[str, str] | None) -> str:
    reference = normalise(sample.reference)
    said = " ".join(f'<span class="w">{escape(word)}</span>' for word in reference.split())
    rows = [f"<div><dt><b>Said</b></dt><dd>{said}</dd></div>"]
    for label, hypothesis in (texts or {}).items():
        aligned = align_words(reference=reference, hypothesis=normalise(hypothesis))
        rows.append(
            f"<div><dt><b>{escape(label)}</b>{escape(error_summary(aligned))}</dt>"
            f"<dd>{transcript_html(aligned)}</dd></div>"
        )
    none = '<p class="caption">No system transcribed this sound.</p>' if texts is None else ""
    return f'<dl class="transcript">{"".join(rows)}</dl>{none}'


def _film(media: Path | bytes, title: str, label: str) -> str:
    content = _media(media, title, label, _is_mp4, "an MP4")
    import av

    try:
        with av.open(io.BytesIO(content)) as container:
            codecs = {stream.codec_context.name for stream in container.streams}
    except av.FFmpegError as error:
        raise MediaError(
            f"sample {title!r}: the film of {label!r} cannot be opened ({error.strerror}); "
            "write it again with avsr.files.write_video"
        ) from error
    if "h264" not in codecs or not codecs <= {"h264", "aac"}:
        raise MediaError(
            f"sample {title!r}: the film of {label!r} holds {sorted(codecs)}; browsers play h264 "
            "with aac: write it with avsr.files.write_video"
        )
    return data_uri("video/mp4", content)


def _media(
    media: Path | bytes, title: str, label: str, is_right: Callable[[bytes], bool], kind: str
) -> bytes:
    where = f"sample {title!r}: {label}"
    if isinstance(media, bytes):
        content = media
    else:
        where += f" {media}"
        if not Path(media).is_file():
            raise MediaError(f"{where}: no such file; check the path")
        content = Path(media).read_bytes()
    if not is_right(content):
        raise MediaError(
            f"{where}: not {kind} file ({len(content)} bytes); "
            "write it with avsr.files.write_wav or write_video"
        )
    return content


def _is_wav(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def _is_mp4(content: bytes) -> bool:
    return content[4:8] == b"ftyp"
