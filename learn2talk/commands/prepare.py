"""Commands that make prepared corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from learn2talk.corpora.biwi import BiwiConfig
from learn2talk.corpora.fit_blocks import TrackedConfig
from learn2talk.corpora.vocaset import VocasetConfig

DEFAULT_TRACKED = TrackedConfig()
DEFAULT_VOCASET = VocasetConfig()
DEFAULT_BIWI = BiwiConfig()


def prepare_tracked(
    prepared: Path,
    out: Path,
    ict: Path | None = None,
    processes: int = 2,
    config: TrackedConfig = DEFAULT_TRACKED,
) -> None:
    """A corpus of tracked films to one of a 3D face model; resumes where it stopped.

    Args:
        prepared: folder of a corpus that 'avsr prepare' made.
        out: folder to write.
        ict: folder of ICT-FaceKit light (ict_light_21451v.npz); without it the built-in head.
        processes: that fit side by side.
        config: limits, noise and priors.
    """
    from learn2talk.corpora import tracked

    tracked.prepare_tracked(prepared, out, ict=ict, num_processes=processes, config=config)


def prepare_joined(
    parts: Annotated[tuple[Path, ...], arg(metavar="FOLDER [FOLDER ...]")],
    out: Path,
    estimate_phones: bool = False,
) -> None:
    """Join prepared corpora of one topology into one.

    Args:
        parts: folders of the corpora.
        out: folder to write.
        estimate_phones: give phones to utterances that have word times and no phones.
    """
    from learn2talk.corpora.joined import join_corpora

    print(join_corpora(parts, out, estimate_phones=estimate_phones))


def prepare_drawn(prepared: Positional[Path], out: Path, template: Path | None = None) -> None:
    """Add to a prepared corpus the mouths of its faces, drawn: training data of lip readers.

    Args:
        prepared: folder of a prepared corpus.
        out: folder to write.
        template: neutral face (.npz) that is moved for everybody; the speakers' mean unless given.
    """
    from learn2talk.corpora.drawn import draw_mouths
    from learn2talk.files import load_template

    face = None if template is None else load_template(template)
    print(draw_mouths(prepared, out, template=face))


def prepare_vocaset(
    root: Path,
    out: Path = Path("vocaset"),
    face: Path | None = None,
    allow_missing: int = 0,
    check: bool = False,
    config: VocasetConfig = DEFAULT_VOCASET,
) -> None:
    """Check a copy of VOCASET, then prepare it: motion in mm at 25 fps; resumes.

    Args:
        root: folder with vertices_npy, wav and templates.pkl, or of the release's own files.
        out: folder to write.
        face: folder of FLAME_sample.ply, FLAME_masks.pkl and a landmark embedding; default: root.
        allow_missing: how many sequences may be missing or too many.
        check: only check.
        config: frame rate, resampler, texts.
    """
    from learn2talk.corpora.vocaset import prepare

    prepare(
        root, out, face_folder=face, allow_missing=allow_missing, check_only=check, config=config
    )


def prepare_biwi(
    root: Path,
    out: Path = Path("biwi"),
    face: Path | None = None,
    allow_missing: int = 0,
    check: bool = False,
    config: BiwiConfig = DEFAULT_BIWI,
) -> None:
    """Check a copy of BIWI, then prepare it: motion in mm at 25 fps; resumes.

    Args:
        root: folder with vertices_npy, wav and templates.pkl, and rigid_scans if you have them.
        out: folder to write.
        face: folder of BIWI.ply, lve.txt and fdd.txt; default: root.
        allow_missing: how many sequences may be missing or too many.
        check: only check.
        config: test set, size, texts.
    """
    from learn2talk.corpora.biwi import prepare

    prepare(
        root, out, face_folder=face, allow_missing=allow_missing, check_only=check, config=config
    )
