"""The ``avsr`` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from avsr.command_line import run_commands
from avsr.commands import noise, scores
from avsr.corpora.lrs import LrsConfig
from avsr.corpora.talking_faces import PrepareConfig
from avsr.decode.config import DecodingConfig
from avsr.decode.live import LiveConfig
from avsr.decode.windows import WindowConfig
from avsr.schema import AskedModality, Modality

DEFAULT_PREPARE = PrepareConfig()
DEFAULT_LRS = LrsConfig()
DEFAULT_WINDOWS = WindowConfig()
DEFAULT_LIVE = LiveConfig()
DESCRIPTION = """Audio-visual speech recognition: prepare, mix, transcribe, score, report."""


def fetch_landmarker(out: Path | None = None) -> None:
    """Get MediaPipe's face tracker (3.8 MB): from AVSR_DATA, else from Google; sha256 checked.

    Args:
        out: file or folder to write; without it the cache, where all commands look for it.
    """
    from avsr.tracking import fetch_face_landmarker, landmarker_cache

    print(fetch_face_landmarker(out or landmarker_cache(), os.environ.get("AVSR_DATA")))


def _landmarker(given: Path | None) -> Path:
    """The face tracker's model: as given, else where it is found, else where it should be."""
    from avsr.tracking import find_face_landmarker, landmarker_cache

    return given or find_face_landmarker(os.environ.get("AVSR_DATA")) or landmarker_cache()


def prepare_grid(
    root: Path,
    out: Path,
    landmarker_model: Path | None = None,
    splits_tsv: Path | None = None,
    processes: int = 2,
    config: PrepareConfig = DEFAULT_PREPARE,
) -> None:
    """Track raw GRID clips: mouth crops and 3D lips as an Arrow folder; resumes where it stopped.

    Args:
        root: folder with sN/video/*.mp4|mpg and sN/align/*.align.
        out: folder to write.
        landmarker_model: see 'avsr fetch face-landmarker'.
        splits_tsv: utterance_id, split, text; without it a fixed 80/10/10 split by utterance.
        processes: tracking processes.
        config: limits.
    """
    from avsr.corpora.grid import prepare

    prepare(
        root,
        out,
        landmarker_model=_landmarker(landmarker_model),
        splits_tsv=splits_tsv,
        num_processes=processes,
        config=config,
    )
    print(out)


def prepare_lrs3(
    root: Path,
    out: Path = Path("lrs3"),
    landmarker_model: Path | None = None,
    allow_missing: int = 0,
    is_subset: bool = False,
    check: bool = False,
    processes: int = 2,
    lrs: LrsConfig = DEFAULT_LRS,
    config: PrepareConfig = DEFAULT_PREPARE,
) -> None:
    """Check a copy of LRS3, then prepare it; resumes, and splits its work under torchrun.

    Args:
        root: folder with pretrain, trainval and test.
        out: folder to write.
        landmarker_model: see 'avsr fetch face-landmarker'.
        allow_missing: how many utterances or files may be missing, incomplete or too many.
        is_subset: the copy is a part of LRS3 on purpose: numbers are not compared.
        check: only check.
        processes: tracking processes of this rank.
        lrs: pieces, tokenizer, validation split.
        config: limits of tracking.
    """
    from avsr.corpora.lrs3 import prepare

    prepare(
        root,
        out,
        landmarker_model=_landmarker(landmarker_model),
        num_processes=processes,
        config=config,
        lrs=lrs,
        allow_missing=allow_missing,
        is_subset=is_subset,
        check_only=check,
    )


def prepare_lrs2(
    root: Path,
    out: Path = Path("lrs2"),
    landmarker_model: Path | None = None,
    allow_missing: int = 0,
    is_subset: bool = False,
    check: bool = False,
    processes: int = 2,
    lrs: LrsConfig = DEFAULT_LRS,
    config: PrepareConfig = DEFAULT_PREPARE,
) -> None:
    """Check a copy of LRS2, then prepare it; resumes, and splits its work under torchrun.

    Args:
        root: folder with main, pretrain and the four lists.
        out: folder to write.
        landmarker_model: see 'avsr fetch face-landmarker'.
        allow_missing: how many utterances or files may be missing, incomplete or too many.
        is_subset: the copy is a part of LRS2 on purpose: numbers are not compared.
        check: only check.
        processes: tracking processes of this rank.
        lrs: pieces and tokenizer; LRS2 has a validation split of its own.
        config: limits of tracking.
    """
    from avsr.corpora.lrs2 import prepare

    prepare(
        root,
        out,
        landmarker_model=_landmarker(landmarker_model),
        num_processes=processes,
        config=config,
        lrs=lrs,
        allow_missing=allow_missing,
        is_subset=is_subset,
        check_only=check,
    )


def prepare_folder(
    root: Path,
    table: Path,
    out: Path,
    landmarker_model: Path | None = None,
    recognizer: Path | None = None,
    processes: int = 2,
    config: PrepareConfig = DEFAULT_PREPARE,
) -> None:
    """A folder of your videos and a table of what is said, to a corpus to train or fine-tune on.

    Args:
        root: folder of the videos.
        table: tab-separated, with a header: file, text, and if wanted speaker, split (train, valid,
            test), start_s, end_s.
        out: folder to write.
        landmarker_model: see 'avsr fetch face-landmarker'.
        recognizer: best.safetensors that will be fine-tuned: training texts that its vocabulary
            cannot spell are skipped, with the reason.
        processes: tracking processes of this rank.
        config: limits of tracking.
    """
    from avsr.corpora.folder import prepare
    from avsr.training.recognizer import load_recognizer

    prepare(
        root,
        table,
        out,
        landmarker_model=_landmarker(landmarker_model),
        tokenizer=None if recognizer is None else load_recognizer(recognizer)[1].model,
        num_processes=processes,
        config=config,
    )
    print(out)


def mix(speech: Positional[Path], noise: Positional[Path], snr_db: float, out: Path) -> None:
    """Add noise to speech at an exact signal-to-noise ratio.

    Args:
        speech: sound or video file.
        noise: sound file; one shorter than the speech is continued with cross-fades.
        snr_db: dB over the whole utterance; 0 is a value.
        out: WAV to write (16 kHz, 16 bit).
    """
    from avsr.files import read_audio, write_wav
    from avsr.noise import fit_length, mix_at_snr, to_int16

    voice = read_audio(speech)
    sound = read_audio(noise)
    try:
        mixture = mix_at_snr(voice, fit_length(sound, len(voice), 0), snr_db)
    except ValueError as error:  # a silent file, or a level that is no number
        raise ValueError(f"mixing {speech} with {noise}: {error}") from error
    samples, factor = to_int16(mixture.waveform)
    write_wav(out, samples)
    print(
        f"{out}: {mixture.achieved_snr_db_utterance:.2f} dB over the utterance, "
        f"{mixture.achieved_snr_db_active_speech:.2f} dB over active speech; "
        f"speech and noise scaled by {factor:.3f}"
    )


def transcribe(
    clips: Positional[tuple[Path, ...]],
    recognizer: Path,
    out: Path | None = None,
    formats: tuple[str, ...] = ("txt", "json", "srt", "vtt"),
    modality: AskedModality = "auto",
    landmarker_model: Path | None = None,
    beam_size: int = 10,
    method: Literal["auto", "greedy", "ctc", "joint", "transducer"] = "auto",
    ctc_weight: float = 0.3,
    windows: WindowConfig = DEFAULT_WINDOWS,
) -> None:
    """Text of sound and video files of any length; with --out also times, as JSON and subtitles.

    Args:
        clips: files, any sample and frame rate.
        recognizer: best.safetensors of a run, a published folder, owner/name on the Hugging Face
            Hub, or a folder of 'avsr import'.
        out: folder for one file a format; without it the text is printed.
        formats: of the files: txt, json, srt, vtt.
        modality: audio, video (lips only), audio_visual, or auto: what the file and the
            recogniser have.
        landmarker_model: face_landmarker.task; looked for here, in the cache, in AVSR_DATA.
        beam_size: hypotheses kept while searching.
        method: auto is joint where the network has an attention decoder, else ctc.
        ctc_weight: of CTC against the attention decoder in joint decoding.
        windows: how long talk is cut.
    """
    from avsr.pretrained.imported import is_imported
    from avsr.threads import use_fastest_threads
    from avsr.training.recognizer import load_recognizer
    from avsr.transcript_files import transcribe_files

    if is_imported(recognizer):
        asked = None if method == "auto" else DecodingConfig(method, beam_size, ctc_weight)
        _transcribe_imported(clips, recognizer, out, modality, landmarker_model, asked)
        return
    model, tokenizer = load_recognizer(recognizer)
    if method == "auto":
        method = "ctc" if model.decoder is None else "joint"
    use_fastest_threads(model)
    transcribe_files(
        clips,
        (model, tokenizer),
        out=out,
        formats=formats,
        warn=lambda line: print(line, file=sys.stderr, flush=True),
        modality=modality,
        landmarker_model=landmarker_model,
        decoding=DecodingConfig(method, beam_size, ctc_weight),
        windows=windows,
    )


def recognize(
    sounds: Positional[Path],
    adapter: str,
    out: Path,
    model: Path | None = None,
    name: str | None = None,
    command: str | None = None,
    grammar: Path | None = None,
    processes: int = 1,
) -> None:
    """Text of many short sounds through our or anybody's recogniser, as id<TAB>text; resumes.

    Args:
        sounds: folder of sound files (the id is the path in it without suffix), list of
            id<TAB>path, or Kaldi's wav.scp; relative paths of a list start at its folder.
        adapter: ours, transformers, pocketsphinx, moonshine or command.
        out: TSV to write; finished chunks are kept in <out>.parts.
        model: of ours: best.safetensors; of transformers: a checkpoint's local folder.
        name: of the system; without it one is made of the adapter and the model.
        command: of command: a command line with {list} (id<TAB>path of 16-bit WAV files) and {out}
            (id<TAB>text, written by it) in it, run without a shell.
        grammar: of pocketsphinx: JSGF, or key phrases, one a line.
        processes: share the work, each on one thread.
    """
    from avsr.recognize_files import AdapterChoice, recognize_files

    choice = AdapterChoice(adapter, model, name, command, grammar)
    texts = recognize_files(sounds, choice, out, processes=processes)
    silent = sum(not text for text in texts.values())
    print(f"{out}: {len(texts)} sounds, {silent} of them without text")


def _transcribe_imported(
    clips: tuple[Path, ...],
    recognizer: Path,
    out: Path | None,
    modality: AskedModality,
    landmarker_model: Path | None,
    decoding: DecodingConfig | None,
) -> None:
    from avsr.pretrained.imported import load_imported
    from avsr.tracking import find_face_landmarker
    from avsr.transcribe_imported import transcribe_imported

    if out is not None or modality == "auto":
        raise ValueError(
            f"{recognizer}: imported weights give plain text for a stated stream; leave --out "
            "away, and say --modality audio, video or audio_visual"
        )
    imported = load_imported(recognizer)
    tracker = landmarker_model or find_face_landmarker(os.environ.get("AVSR_DATA"))
    for clip in clips:
        text = transcribe_imported(
            clip, imported, modality=modality, landmarker_model=tracker, decoding=decoding
        )
        print(f"{clip}\t{text}", flush=True)


def publish(
    recognizer: Positional[Path],
    out: Path,
    push_to: str | None = None,
    public: bool = False,
    licence: str | None = None,
    note: str = "",
) -> None:
    """Make a folder of a trained recogniser that explains itself, and maybe push it to the Hub.

    Args:
        recognizer: best.safetensors of a run; what lies beside it goes into the model card.
        out: folder to write: weights, config.json, tokenizer.model, README.md.
        push_to: owner/name of a Hugging Face repository, made if it is not there.
        public: a repository that is made is public; else private.
        licence: of the weights, as the Hub names it, such as cc-by-4.0.
        note: a paragraph for the model card: data, limits, intended use.
    """
    from avsr.training.publishing import publish as write_and_push

    address = write_and_push(
        recognizer, out, push_to=push_to, private=not public, licence=licence, note=note
    )
    print(out if address is None else address)


def import_auto_avsr(
    weights: Positional[Path],
    out: Path,
    units: Path | None = None,
    mean_face: Path | None = None,
    accept_licence: bool = False,
) -> None:
    """Turn Auto-AVSR weights into a folder for 'avsr transcribe'; shows their licence first.

    Args:
        weights: .pth of github.com/mpc001/auto_avsr: video, audio, or v1.0.0's audio-visual.
        out: folder to write.
        units: that project's unigram5000_units.txt; without it there are token ids for text.
        mean_face: that project's 20words_mean_face.npy; without it crops are aligned to our own.
        accept_licence: you have read the notice, and may use the weights.
    """
    from avsr.pretrained.imported import NOTICES, import_weights

    print(NOTICES["auto_avsr"])
    done = import_weights(
        "auto_avsr", weights, out, units=units, mean_face=mean_face, accept_licence=accept_licence
    )
    print(done)


def import_av_hubert(
    weights: Positional[Path],
    out: Path,
    dictionary: Path | None = None,
    mean_face: Path | None = None,
    accept_licence: bool = False,
) -> None:
    """Turn AV-HuBERT weights into a folder for 'avsr transcribe'; shows their licence first.

    Args:
        weights: fairseq's .pt, or a folder in the Hugging Face layout.
        out: folder to write.
        dictionary: dict.wrd.txt of the fine-tuning; without it (and without one in the .pt) there
            are token ids for text.
        mean_face: 20words_mean_face.npy of Auto-AVSR's repository; without it crops are aligned to
            our own.
        accept_licence: you have read the notice, and may use the weights.
    """
    from avsr.pretrained.imported import NOTICES, import_weights

    print(NOTICES["av_hubert"])
    done = import_weights(
        "av_hubert",
        weights,
        out,
        units=dictionary,
        mean_face=mean_face,
        accept_licence=accept_licence,
    )
    print(done)


def report(
    results: Positional[Path],
    out: Path,
    readability: Path | None = None,
    samples: Path | None = None,
) -> None:
    """Tables, plot and page of a results.json: report.html, results.md, rows.csv, rows.tex, wer.*.

    samples.json is a list of {"title": "u1", "reference": "what was said", "condition": "",
    "sounds": {"clean": "u1.wav", "babble 0 dB": "u1_babble.wav"}, "transcripts": {"clean":
    {"A": "what A heard"}}, "faces": {"generated": "u1.mp4"}}: all but title and reference may be
    left out, sounds are WAV, faces MP4 (H.264), paths are relative to the file.

    Args:
        results: results.json of a scored run.
        out: folder to write.
        readability: readability.json of 'learn2talk readability': a section of its own.
        samples: samples.json: what can be heard, seen and read on the page.
    """
    from avsr.files import read_json
    from avsr.report import read_samples, write_outputs

    found = read_json(results)
    if not isinstance(found, dict):
        raise ValueError(f"{results}: holds no scored run; give the results.json of one")
    faces = None if readability is None else read_json(readability)
    if not isinstance(faces, (dict, type(None))):
        raise ValueError(f"{readability}: holds no benchmark of faces; give its readability.json")
    shown = [] if samples is None else read_samples(samples)
    for path in write_outputs(out, found, shown, readability=faces).values():
        print(path)


def export(
    recognizer: Positional[Path],
    out: Path,
    int8: bool = False,
) -> None:
    """Write a recogniser for ONNX Runtime, compared with torch; needs the extra 'export'.

    Args:
        recognizer: best.safetensors of a run.
        out: .onnx file to write; its JSON goes beside it.
        int8: weights of matrix products as int8: smaller, and other log probabilities.
    """
    from avsr.export import export_onnx
    from avsr.training.recognizer import load_recognizer

    print(export_onnx(*load_recognizer(recognizer), out, int8=int8))


def stream(
    source: Positional[str],
    recognizer: Path,
    modality: Modality = "audio",
    pace: Literal["real", "fast"] = "real",
    landmarker_model: Path | None = None,
    live: LiveConfig = DEFAULT_LIVE,
) -> None:
    """Recognise while it is said: partial and final texts, and the latency.

    Args:
        source: sound or video file, or - for raw 16 kHz 16-bit mono PCM on standard input.
        recognizer: best.safetensors of a causal network.
        modality: audio, video (lips only) or audio_visual.
        pace: real gives each 40 ms when they would be over, fast at once.
        landmarker_model: face_landmarker.task; looked for here, in the cache, in AVSR_DATA.
        live: chunks, beam and pauses.
    """
    from avsr.live import LiveRecognizer
    from avsr.stream import stream_source
    from avsr.training.recognizer import load_recognizer

    latency = stream_source(
        source,
        LiveRecognizer(*load_recognizer(recognizer), modality, live),
        modality=modality,
        pace=pace,
        landmarker_model=landmarker_model,
        standard_input=sys.stdin.buffer,
        say=lambda text: print(text.line, flush=True),
        warn=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(latency.line)


COMMANDS: dict[str, Callable[..., Any]] = {
    "fetch face-landmarker": fetch_landmarker,
    "prepare grid": prepare_grid,
    "prepare lrs3": prepare_lrs3,
    "prepare lrs2": prepare_lrs2,
    "prepare folder": prepare_folder,
    "mix": mix,
    "noise build": noise.build,
    "noise render": noise.render,
    "noise audit": noise.audit,
    "noise decode": noise.decode,
    "score": scores.score,
    "compare": scores.compare,
    "transcribe": transcribe,
    "recognize": recognize,
    "stream": stream,
    "publish": publish,
    "import auto-avsr": import_auto_avsr,
    "import av-hubert": import_av_hubert,
    "report": report,
    "export": export,
}


def main() -> None:
    """Entry point of the console script."""
    run_commands("avsr", DESCRIPTION, COMMANDS)


if __name__ == "__main__":  # torchrun -m avsr.cli
    main()
