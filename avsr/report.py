"""results.json and a few samples -> one ``report.html`` that opens from disk without a network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from avsr import report_sections as sections
from avsr.files import MediaError, write_atomically
from avsr.plot import save_plot
from avsr.score import SCHEMA, SCHEMA_VERSION
from avsr.tables import csv_text, size_text, write_tables
from avsr.text import normalise
from avsr.transcripts import align_words, error_summary, transcript_html


@dataclass(frozen=True)
class ReportSample:
    """One utterance to see and hear.

    Media are paths or bytes: films MP4 with H.264 (and AAC), audio WAV. ``transcripts`` maps a
    system's label to its hypothesis, best in the order of the table. ``real_video`` is ``None``
    where there is no recording to stand beside the generated face.
    """

    title: str
    reference: str
    transcripts: Mapping[str, str]
    generated_video: Path | bytes
    real_video: Path | bytes | None = None
    audio: Path | bytes | None = None
    condition: str = ""
    generated_label: str = "Generated face"
    real_label: str = "Real face"
    audio_label: str = "What the recogniser heard"


@dataclass(frozen=True)
class ReportText:
    """The words of the page that the results cannot know."""

    title: str = "Audio-visual speech recognition under noise"
    lead: str = ""
    notes: tuple[str, ...] = field(default=())


def write_report(
    path: Path | str,
    results: Mapping[str, Any],
    samples: Sequence[ReportSample] = (),
    *,
    text: ReportText | None = None,
) -> Path:
    """Write the self-contained page: curves, tables, faces with sound, transcripts, provenance.

    Args:
        path: of the ``.html`` file, written atomically.
        results: of :func:`avsr.score.score`, or the same read from JSON.
        samples: shown in this order.
        text: title, one-paragraph lead (made from the protocol where empty), and notes beside the
            protocol's own.

    Raises:
        ValueError: results of another schema.
        MediaError: a sample's film or audio is not what a browser plays; the message names it.
    """
    _check_schema(results)
    words = text or ReportText()
    page = Template(_asset("page.html"))
    parts = {
        "curves": sections.curves(results),
        "samples": _samples(samples) if samples else "",
        "tables": sections.wer_tables(results),
        "audit": sections.audit(results),
        "provenance": sections.provenance(results) + _downloads(results),
    }
    names = {
        "curves": "Curves",
        "samples": "Faces and transcripts",
        "tables": "Tables",
        "audit": "Self-audit",
        "provenance": "Protocol and provenance",
    }
    protocol = results["protocol"]
    html = page.substitute(
        title=escape(words.title),
        kicker=escape(f"{protocol['corpus']} \u00b7 {protocol['split']}"),
        lead=escape(words.lead or _lead(results)),
        badges=sections.badges(results, words.notes),
        headline=sections.headline(results),
        nav="".join(f'<a href="#{key}">{names[key]}</a>' for key, part in parts.items() if part),
        sections="".join(parts.values()),
        style=_asset("style.css"),
        series_style=sections.series_style(results),
        script=_asset("script.js"),
    )
    with write_atomically(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Path(path)


def write_outputs(
    folder: Path | str,
    results: Mapping[str, Any],
    samples: Sequence[ReportSample] = (),
    *,
    text: ReportText | None = None,
) -> dict[str, Path]:
    """Everything a reader takes away: ``report.html``, ``results.md``, ``rows.csv``, ``wer.png``,
    ``wer.svg`` in one folder; returns the paths by name.

    Raises:
        ValueError: as :func:`write_report`, and where matplotlib is missing.
    """
    _check_schema(results)
    folder = Path(folder)
    table, rows = write_tables(results, folder)
    png, svg = save_plot(results, folder)
    report = write_report(folder / "report.html", results, samples, text=text)
    return {"report": report, "table": table, "rows": rows, "png": png, "svg": svg}


def _check_schema(results: Mapping[str, Any]) -> None:
    found = results.get("schema"), results.get("schema_version")
    if found != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(
            f"results have schema {found[0]!r} version {found[1]!r}; this program reads "
            f"{SCHEMA!r} version {SCHEMA_VERSION}; score the hypotheses again"
        )


def _asset(name: str) -> str:
    return resources.files("avsr").joinpath("report_assets", name).read_text(encoding="utf-8")


def _lead(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    noises = ", ".join(protocol["test_noises"])
    return (
        f"Word error rate of audio-only, video-only and audio-visual recognition in "
        f"{noises or 'clean audio'}: {size_text(protocol)}, "
        f"{results['interval']['confidence']:.0%} intervals."
    )


def _downloads(results: Mapping[str, Any]) -> str:
    files = {
        "results.json": ("application/json", json.dumps(results, ensure_ascii=False, indent=1)),
        "rows.csv": ("text/csv", csv_text(results)),
    }
    links = " \u00b7 ".join(
        f'<a download="{name}" href="{_data_uri(kind, content.encode())}">{name}</a>'
        for name, (kind, content) in files.items()
    )
    return f'<p class="caption">The numbers behind this page: {links}</p>'


def _samples(samples: Sequence[ReportSample]) -> str:
    legend = (
        '<p class="caption">In the transcripts: <span class="w sub"><u>heard</u><small>said'
        '</small></span> a wrong word, above what was said; <del class="w del">said</del> a '
        'missed word; <ins class="w ins">+heard</ins> an added word.</p>'
    )
    body = "".join(_sample(index, sample) for index, sample in enumerate(samples))
    return (
        '<section id="samples"><h2>Faces and transcripts</h2><p>The generated face beside the '
        f"recording of the same sentence, played together.</p>{legend}{body}</section>"
    )


def _sample(index: int, sample: ReportSample) -> str:
    films = [(sample.generated_label, sample.generated_video)]
    if sample.real_video is not None:
        films.append((sample.real_label, sample.real_video))
    figures = "".join(
        f'<figure><video src="{_film(media, sample.title, label)}" playsinline preload="auto" '
        f'aria-label="{escape(label)}: {escape(sample.title)}"></video>'
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for label, media in films
    )
    sound = ""
    if len(films) > 1:
        options = "".join(
            f'<option value="{i}">{escape(label)}</option>' for i, (label, _) in enumerate(films)
        )
        sound = f"<label>Sound of <select>{options}</select></label>"
    heard = ""
    if sample.audio is not None:
        uri = _data_uri("audio/wav", _media(sample.audio, sample.title, "audio", _is_wav))
        heard = (
            f'<div class="heard"><span>{escape(sample.audio_label)}</span>'
            f'<audio controls preload="metadata" src="{uri}" '
            f'aria-label="{escape(sample.audio_label)}"></audio></div>'
        )
    reference = normalise(sample.reference)
    rows = [f"<div><dt><b>Said</b></dt><dd>{escape(reference)}</dd></div>"]
    for label, hypothesis in sample.transcripts.items():
        aligned = align_words(reference=reference, hypothesis=normalise(hypothesis))
        rows.append(
            f"<div><dt><b>{escape(label)}</b>{escape(error_summary(aligned))}</dt>"
            f"<dd>{transcript_html(aligned)}</dd></div>"
        )
    return (
        f'<article class="sample" aria-labelledby="sample-{index}"><header>'
        f'<h3 id="sample-{index}">{escape(sample.title)}</h3><p>{escape(sample.condition)}</p>'
        f'</header><div class="faces{"" if len(films) > 1 else " one"}">{figures}</div>'
        '<div class="controls"><button type="button" class="play">Play</button>'
        '<input type="range" min="0" max="1000" value="0" step="1" '
        f'aria-label="Position in {escape(sample.title)}"><output></output>{sound}</div>'
        f'{heard}<dl class="transcript">{"".join(rows)}</dl></article>'
    )


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _film(media: Path | bytes, title: str, label: str) -> str:
    content = _media(media, title, label, _is_mp4)
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
    return _data_uri("video/mp4", content)


def _media(media: Path | bytes, title: str, label: str, is_right: Any) -> bytes:
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
            f"{where}: not {'a WAV' if is_right is _is_wav else 'an MP4'} file ({len(content)} "
            "bytes); write it with avsr.files.write_wav or write_video"
        )
    return content


def _is_wav(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def _is_mp4(content: bytes) -> bool:
    return content[4:8] == b"ftyp"
