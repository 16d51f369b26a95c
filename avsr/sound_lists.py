"""Which sounds are meant: a folder, a list of ids and paths, or Kaldi's wav.scp."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avsr.files import SOUNDFILE_SUFFIXES

# Of a folder, files that end otherwise are not taken for sounds; a list may name any.
SOUND_SUFFIXES = {
    *SOUNDFILE_SUFFIXES,
    *(".mp3", ".m4a", ".aac", ".wma", ".mp4", ".mpg", ".mkv", ".webm", ".mov", ".avi"),
}
HEADERS = (["id", "path"], ["utterance_id", "path"])


@dataclass(frozen=True)
class Sound:
    """One sound to recognise: its id, without tab or line break, and its file."""

    id: str
    path: Path


def list_sounds(sounds: Path) -> list[Sound]:
    """The sounds that a path stands for.

    Args:
        sounds: a folder: every sound and film in it and its folders, by name; the id is the path in
            the folder without suffix. Or a list, ``id<TAB>path`` a line, maybe with a header. Or
            Kaldi's ``wav.scp``: id, space, path. A list's relative paths start at the list's
            folder.

    Raises:
        ValueError: nothing there, no sound in it, repeated ids, missing files (counted, the first
            one named), a pipe in wav.scp, a line of another form.
    """
    if sounds.is_dir():
        found = _of_folder(sounds)
    elif sounds.is_file():
        found = _of_list(sounds)
    else:
        raise ValueError(f"{sounds}: no such folder or list; check the path")
    if not found:
        raise ValueError(f"{sounds}: names no sounds; give a folder of sound files or a list")
    first: dict[str, Path] = {}
    repeated = [one for one in found if first.setdefault(one.id, one.path) is not one.path]
    if repeated:
        one = repeated[0]
        raise ValueError(
            f"{sounds}: {len(repeated)} ids are there again, first {one.id!r} for {one.path} after "
            f"{first[one.id]}; give each sound an id of its own"
        )
    missing = [one for one in found if not one.path.is_file()]
    if missing:
        raise ValueError(
            f"{sounds}: {len(missing)} of {len(found)} files are missing, first {missing[0].path} "
            f"(id {missing[0].id!r}); relative paths start at the list's folder"
        )
    return found


def _of_folder(folder: Path) -> list[Sound]:
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file() and not hidden:
            name = inside.with_suffix("").as_posix()
            if set(name) & set("\t\r\n"):
                raise ValueError(f"{path}: a name with a tab or a line break; rename the file")
            found.append(Sound(name, path))
    return found


def _of_list(path: Path) -> list[Sound]:
    kaldi = path.suffix == ".scp"
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is no list (not UTF-8 text); give a folder, a list of id<TAB>path or a "
            "wav.scp"
        ) from error
    found: list[Sound] = []
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        words = line.split(None, 1) if kaldi else line.split("\t")
        if number == 1 and not kaldi and words in HEADERS:
            continue
        if len(words) != 2 or not all(word.strip() for word in words):
            form = "'id path'" if kaldi else "id<TAB>path"
            raise ValueError(f"{path}:{number}: {line[:80]!r} is not {form}")
        name, file = (word.strip() for word in words)
        if kaldi and "|" in (file[0], file[-1]):
            raise ValueError(
                f"{path}:{number}: {name!r} is the pipe {file[:80]!r}, and no program of a list is "
                "run; write the sounds to files first"
            )
        found.append(Sound(name, path.parent / file))
    return found
