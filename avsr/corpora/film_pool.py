"""Many films to tracked clips, in this process or in a pool of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from avsr.corpora.clip_tracking import TrackingJob, run_film
from avsr.corpora.clips import CorpusError, TalkingClip
from avsr.text import Tokenizer
from avsr.tracking import FaceTracker

QUEUED_PER_PROCESS = 8  # films that wait for a process of the pool: never the whole corpus

_worker: dict[str, Any] = {}  # one process's job, tracker and tokenizer, loaded once


def _start_worker(job: TrackingJob) -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

        def follow() -> None:  # a worker whose parent was killed must not stay behind
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    _worker["job"], _worker["tracker"] = job, FaceTracker(job.landmarker_model)
    _worker["tokenizer"] = None if job.tokenizer is None else Tokenizer(job.tokenizer)


def _work(film: TalkingClip) -> None:
    run_film(film, _worker["job"], _worker["tracker"], _worker["tokenizer"])


def run_films(
    films: Iterable[TalkingClip], job: TrackingJob, num_processes: int
) -> Iterator[TalkingClip]:
    """Track films in any order; yields each when it is finished.

    Raises:
        CorpusError: a process of the pool died.
    """
    import multiprocessing

    if num_processes == 1:
        _start_worker(job)
        try:
            for film in films:
                _work(film)
                yield film
        finally:
            _worker.pop("tracker").close()
        return
    waiting = iter(films)
    with ProcessPoolExecutor(
        num_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(job,),
    ) as pool:
        queued: dict[Future[None], TalkingClip] = {}
        try:
            while True:
                room = QUEUED_PER_PROCESS * num_processes - len(queued)
                for film in islice(waiting, room):
                    queued[pool.submit(_work, film)] = film
                if not queued:
                    return
                finished, _ = wait(queued, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    yield queued.pop(future)
        except BrokenProcessPool as error:
            raise CorpusError(
                "a tracking process died (out of memory, or killed); run the same command "
                "again, finished clips are kept"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
