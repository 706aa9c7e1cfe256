"""Work in a pool of processes of this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from harness.run.groups import Feed

T = TypeVar("T")
R = TypeVar("R")

_PR_SET_PDEATHSIG = 1


def in_pool(
    feed: Feed[T], jobs: int, submit: Callable[[Callable[..., Future[R]], T], Future[R]]
) -> Iterator[tuple[T, R | None]]:
    """Do work in ``jobs`` spawned processes and yield each piece with its result, in the order in which they end.

    ``submit`` hands one piece to a pool's own ``submit``. A process that dies costs what was under way, which is
    yielded with None; whoever hears that may give it back to ``feed``.
    """
    next_piece = feed.take()
    while next_piece is not None:
        pool = ProcessPoolExecutor(
            max_workers=jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(os.getpid(),),
        )
        running: dict[Future[R], T] = {}
        piece: T | None = None
        try:
            while next_piece is not None or running:
                while next_piece is not None and len(running) < jobs + 1:
                    running[submit(pool.submit, next_piece)] = next_piece
                    next_piece = feed.take()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    piece = running.pop(future)
                    result = future.result()
                    ended, piece = piece, None
                    yield ended, result
                next_piece = feed.take() if next_piece is None else next_piece
        except BrokenProcessPool:
            gone = [*([piece] if piece is not None else []), *running.values()]
            for each in gone:
                yield each, None
        finally:
            for process in list((pool._processes or {}).values()):
                # A simulation is native code that sees no signal handler; its result is not wanted any more.
                if running:
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
        next_piece = feed.take() if next_piece is None else next_piece


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the runner, and die with it: a killed runner leaves no process behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
