"""A folder or a list of sounds in, ``id<TAB>text`` out, through any recogniser.

Sounds are recognised in chunks. Each finished chunk is a file in ``<out>.parts/``, beside
``job.json``, which tells the recogniser and the sounds that they are of: an interrupted command
goes on, and the parts of another recogniser are never mixed in.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.adapters import Adapter, load_adapter
from avsr.files import (
    SOUNDFILE_SUFFIXES,
    MediaError,
    read_audio,
    read_json,
    write_atomically,
    write_json,
)
from avsr.sound_lists import Sound, list_sounds

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

_worker: dict[str, Adapter] = {}  # one process's recogniser, loaded once


@dataclass(frozen=True)
class AdapterChoice:
    """What :func:`avsr.adapters.load_adapter` is asked for; travels to other processes."""

    kind: str
    model: Path | None = None
    name: str | None = None
    command: str | None = None
    grammar: Path | None = None

    def load(self) -> Adapter:
        """The recogniser."""
        return load_adapter(
            self.kind, self.model, name=self.name, command=self.command, grammar=self.grammar
        )


def recognize_files(
    sounds: Path, choice: AdapterChoice, out: Path, *, processes: int = 1
) -> dict[str, str]:
    """Recognise sounds, on one thread in each process, and write ``id<TAB>text`` in their order.

    Args:
        sounds: see :func:`list_sounds`.
        choice: which recogniser.
        out: TSV to write, without a header; finished chunks are kept in ``<out>.parts/``.
        processes: that share the work, 1 or more; each loads the recogniser.

    Returns:
        Id to text, in the order of ``sounds``.

    Raises:
        ValueError: what :func:`list_sounds` and the recogniser's loading refuse; parts of another
            recogniser or of other sounds; a sound that cannot be read; a process that died.
    """
    if processes < 1:
        raise ValueError(f"processes {processes} must be 1 or more")
    listed = list_sounds(sounds)
    folder = out.with_name(out.name + ".parts")
    with _one_thread():
        adapter = choice.load()
        size = _open_parts(folder, adapter, listed, processes)
        chunks = [listed[start : start + size] for start in range(0, len(listed), size)]
        paths = [folder / f"{number:06d}.tsv" for number in range(len(chunks))]
        waiting = [pair for pair in zip(chunks, paths, strict=True) if not pair[1].is_file()]
        with _progress(len(listed), sum(len(chunk) for chunk, _ in waiting)) as bar:
            if processes == 1:
                for chunk, path in waiting:
                    recognize_chunk(adapter, chunk, path)
                    bar.update(len(chunk))
            elif waiting:
                del adapter  # each process has its own
                _run_pool(choice, waiting, processes, bar)
    texts: dict[str, str] = {}
    for chunk, path in zip(chunks, paths, strict=True):
        texts |= _read_part(path, chunk)
    with write_atomically(out) as temporary:
        temporary.write_text(_to_tsv(texts), encoding="utf-8")
    return texts


def _open_parts(folder: Path, adapter: Adapter, listed: list[Sound], processes: int) -> int:
    """Make the folder of parts, or check that it is of this very job; the sounds in a chunk."""
    digest = hashlib.sha256()
    for one in listed:
        stat = one.path.stat()  # a mixture at another level has the same name and size
        digest.update(f"{one.id}\t{one.path}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    facts = {"system": adapter.name, **adapter.facts}
    job = {"recogniser": facts, "sounds": {"count": len(listed), "sha256": digest.hexdigest()}}
    path = folder / "job.json"
    if not path.is_file():
        size = min(adapter.batch, -(-len(listed) // processes))  # a share for each process
        write_json(path, {**job, "chunk": size})
        return size
    kept: dict[str, Any] = read_json(path)
    other = kept.get("recogniser") or {}
    differing = sorted(key for key in {*other, *facts} if other.get(key) != facts.get(key))
    if differing:
        key = differing[0]
        raise ValueError(
            f"{folder}: holds parts of another recogniser ({key} is {other.get(key)!r} there, "
            f"{facts.get(key)!r} here); write to another --out, or remove that folder"
        )
    if kept.get("sounds") != job["sounds"]:
        raise ValueError(
            f"{folder}: holds parts of other sounds (the list, or a file's size or time, has "
            "changed); write to another --out, or remove that folder"
        )
    return int(kept["chunk"])


def recognize_chunk(adapter: Adapter, chunk: list[Sound], path: Path) -> None:
    """Recognise some sounds and write their part.

    Raises:
        ValueError: a sound that cannot be read, or what the recogniser says.
    """
    texts = adapter.transcribe([_read_sound(one.path) for one in chunk])
    with write_atomically(path) as temporary:
        told = dict(zip((one.id for one in chunk), texts, strict=True))
        temporary.write_text(_to_tsv(told), encoding="utf-8")


def _read_sound(path: Path) -> np.ndarray:
    """float32 (S,) at 16 kHz; of a whole file without samples, none."""
    try:
        return read_audio(path)
    except MediaError:
        if _is_empty_sound(path):
            return np.zeros(0, np.float32)
        raise


def _is_empty_sound(path: Path) -> bool:
    if path.suffix.lower() not in SOUNDFILE_SUFFIXES:
        return False
    import soundfile

    try:
        return int(soundfile.info(str(path)).frames) == 0
    except (soundfile.LibsndfileError, RuntimeError):
        return False


def _to_tsv(texts: dict[str, str]) -> str:
    return "".join(f"{name}\t{text}\n" for name, text in texts.items())


def _read_part(path: Path, chunk: list[Sound]) -> dict[str, str]:
    rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    texts = {name: text for name, _, text in (row.partition("\t") for row in rows)}
    if list(texts) != [one.id for one in chunk]:
        raise ValueError(f"{path}: is not the part that was written; remove it and run again")
    return texts


def _run_pool(
    choice: AdapterChoice, waiting: list[tuple[list[Sound], Path]], processes: int, bar: Any
) -> None:
    import multiprocessing

    with ProcessPoolExecutor(
        min(processes, len(waiting)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    ) as pool:
        try:
            queued = {pool.submit(_work, choice, chunk, path): chunk for chunk, path in waiting}
            for future in as_completed(queued):
                future.result()
                bar.update(len(queued[future]))
        except BrokenProcessPool as error:
            raise ValueError(
                "a recognising process died (out of memory, or killed); run the same command "
                "again, finished parts are kept"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker() -> None:
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes of the pool start here"

    def follow() -> None:  # a worker whose parent was killed must not stay behind
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _work(choice: AdapterChoice, chunk: list[Sound], path: Path) -> None:
    if "adapter" not in _worker:
        _worker["adapter"] = choice.load()
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
    recognize_chunk(_worker["adapter"], chunk, path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for what is loaded or started from here on, and for torch if it is loaded."""
    torch = sys.modules.get("torch")
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    threads = 1 if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _progress(count: int, waiting: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=count, initial=count - waiting, desc="recognize", unit="sound")
