"""Commands of a noisy test: build it, render it, audit it, decode it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from avsr.noisy_test_building import NoisyTestConfig

Kind = Literal["ours", "transformers", "pocketsphinx", "moonshine", "command"]


def build(
    out: Positional[Path], config: Annotated[NoisyTestConfig, arg(name="")], processes: int = 1
) -> None:
    """Make a noisy test: every mixture of speech and noise, written down before any is decoded.

    Args:
        out: folder to write.
        config: corpus, noise, levels, rooms.
        processes: that share the work; the test does not depend on it.
    """
    from avsr.noisy_test_building import build as build_test

    test = build_test(config, out, processes=processes)
    noise = test.facts["noise"]
    for name, layout in noise["layouts"].items():
        print(f"noise folder {name}: {layout}")
    if noise["passed_over"]:
        first, reason = noise["passed_over"][0]
        print(
            f"{len(noise['passed_over'])} files of noise passed over, the first {first}: {reason}"
        )
    if test.facts["preset_left_out"]:
        left = ", ".join(test.facts["preset_left_out"])
        print(f"noise of the preset that your folders do not hold: {left}")
    print(
        f"{out}: {len(test.manifest.rows)} mixtures of {len(test.facts['utterances'])} utterances "
        f"in {', '.join(noise['types'])}; manifest {test.manifest.sha256}"
    )


def render(test: Positional[Path], out: Path, processes: int = 1) -> None:
    """Write the mixtures of a noisy test as WAV files and a list, for any outside recogniser.

    Args:
        test: folder of 'avsr noise build'.
        out: folder to write: wav/, list.tsv (id, path), rendered.jsonl.
        processes: that share the work.
    """
    from avsr.noisy_test import load
    from avsr.noisy_test_files import render_test

    print(f"{render_test(load(test), out, processes=processes)} mixtures, listed in {out}/list.tsv")


def audit(
    test: Positional[Path],
    share: float = 0.01,
    rendered: Path | None = None,
    out: Path | None = None,
) -> None:
    """Check the levels of a noisy test and make a share of its mixtures again; fails on an error.

    Args:
        test: folder of 'avsr noise build'.
        share: of the mixtures that are made again, above 0 and at most 1.
        rendered: folder of 'avsr noise render': its files must hold the same bytes.
        out: JSON file for the findings.
    """
    from avsr.files import write_json
    from avsr.noisy_test import load
    from avsr.noisy_test_audit import audit_test

    found = audit_test(load(test), share=share, rendered=rendered)
    for one in found["findings"]:
        print(f"{one['level']}: {one['where']}: {one['message']}")
    print(f"{found['num_rederived']} of {found['num_mixtures']} mixtures made again")
    if out is not None:
        write_json(out, found)
    if not found["passed"]:
        errors = sum(one["level"] == "error" for one in found["findings"])
        raise ValueError(f"{test}: the audit found {errors} errors; figures from it would mislead")
    print("passed")


def decode(
    test: Positional[Path],
    adapter: Kind,
    out: Path,
    model: Path | None = None,
    name: str | None = None,
    command: str | None = None,
    grammar: Path | None = None,
    visual_sources: tuple[str, ...] = (),
    video_conditions: tuple[str, ...] = ("clean",),
    processes: int = 1,
) -> None:
    """Let a recogniser hear a noisy test, mixtures made in memory; goes on where it was stopped.

    Args:
        test: folder of 'avsr noise build'.
        adapter: which kind of recogniser.
        out: folder of its work; hypotheses.jsonl in it goes to 'avsr score'.
        model: best.safetensors (ours) or a local folder (transformers).
        name: of the system in results.
        command: for 'command': a command line with {list} and {out} in it.
        grammar: for pocketsphinx: JSGF grammar in place of its language model.
        visual_sources: for 'ours': mouth_crops, tracked_lips, still, beside sound alone.
        video_conditions: what is done to the pictures: clean, missing_50, occluded_50, blurred_3,
            compressed_10, frozen_1, offset_80, fps_15, ... or 'standard' for twelve of them.
        processes: that share the work.
    """
    from avsr.noisy_test import load
    from avsr.noisy_test_decoding import SeeingSystem, decode_by_ear, decode_with_video
    from avsr.recognize_files import AdapterChoice
    from avsr.video_conditions import STANDARD

    built = load(test)
    conditions: list[str] = []
    for one in video_conditions:
        conditions += ["clean", *STANDARD] if one == "standard" else [one]
    conditions = list(dict.fromkeys(conditions))
    if visual_sources:
        if adapter != "ours" or model is None:
            raise ValueError("visual sources are for --adapter ours with its --model")
        system = SeeingSystem(name or "audio_visual", str(model), visual_sources)
        decode_with_video(built, [system], out, video_conditions=conditions, processes=processes)
    else:
        if conditions != ["clean"]:
            raise ValueError("video conditions need --visual-sources: nothing is seen without")
        choice = AdapterChoice(adapter, model, name, command, grammar)
        decode_by_ear(built, choice, out, processes=processes)
    print(out / "hypotheses.jsonl")
