"""Many files in, their transcripts out: as lines, or as text, JSON and subtitle files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from avsr.decode.config import DecodingConfig
from avsr.decode.windows import WindowConfig
from avsr.files import write_atomically
from avsr.models.recognizer import Recognizer
from avsr.schema import AskedModality, Transcript
from avsr.subtitles import srt, vtt
from avsr.text import Tokenizer
from avsr.transcribe import DEFAULT_DECODING, DEFAULT_WINDOWS, transcribe

FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": lambda transcript: "".join(f"{segment.text}\n" for segment in transcript.segments),
    "json": lambda transcript: (
        json.dumps(transcript.to_row(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    ),
    "srt": lambda transcript: srt(transcript.segments),
    "vtt": lambda transcript: vtt(transcript.segments),
}


def transcribe_files(
    clips: Sequence[Path],
    recognizer: tuple[Recognizer, Tokenizer],
    *,
    out: Path | None = None,
    formats: Sequence[str] = tuple(FORMATS),
    say: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
    modality: AskedModality = "auto",
    landmarker_model: Path | None = None,
    decoding: DecodingConfig = DEFAULT_DECODING,
    windows: WindowConfig = DEFAULT_WINDOWS,
) -> None:
    """Transcribe files one after the other; one that fails does not stop the others.

    The other options are those of :func:`avsr.transcribe.transcribe`.

    Args:
        clips: sound or video files.
        recognizer: of :func:`load_recognizer`.
        out: folder for ``<name>.<format>``; ``None`` prints each file's text.
        formats: some of txt, json, srt, vtt.
        say: receives results. warn: receives warnings and, as they come, failures.

    Raises:
        ValueError: an unknown format, two files of one name for ``out``, or, after all others are
            done, the files that failed.
    """
    _check_outputs(clips, out, formats)
    failed: list[str] = []
    for clip in clips:
        try:
            found = transcribe(
                clip,
                recognizer,
                modality=modality,
                landmarker_model=landmarker_model,
                decoding=decoding,
                windows=windows,
            )
            for warning in found.warnings:
                warn(f"warning: {warning}")
            if out is None:
                say(f"{clip}\t{found.text}")
                continue
            for name in formats:
                with write_atomically(out / f"{clip.stem}.{name}") as temporary:
                    temporary.write_text(FORMATS[name](found), encoding="utf-8")
            say(f"{clip}\t{out / clip.stem}.{{{','.join(formats)}}}")
        except (ValueError, OSError) as error:
            if len(clips) == 1:
                raise
            text = " ".join(str(error).split())
            warn(f"error: {text if str(clip) in text else f'{clip}: {text}'}")
            failed.append(str(clip))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(clips)} files could not be transcribed (reasons above): "
            + ", ".join(failed)
        )


def _check_outputs(clips: Sequence[Path], out: Path | None, formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"formats {list(formats)} must be some of {', '.join(FORMATS)}")
    taken: dict[str, Path] = {}
    for clip in clips:
        other = taken.setdefault(clip.stem, clip)
        if out is not None and other != clip:
            raise ValueError(
                f"{other} and {clip} would both be written as {out / clip.stem}.*; "
                "transcribe them into two folders"
            )
