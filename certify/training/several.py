"""Several trainings that belong together: one for each seed, or one for each fold of the data, side by side."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.errors import BadInput, CertifyError, ModelError
from certify.process import end_with_parent, tune_process
from certify.progress.observer import Advance, Observer
from certify.registry import make
from certify.training.asked import Asked
from certify.training.folds import check_folds
from certify.training.recipe import RECIPES
from certify.training.record import CHECKPOINT, RECORD
from certify.training.train import Training

__all__ = ["of_folds", "of_seeds", "train_all", "train_asked", "trainings_of"]

_POLL: Final = 0.2
"""Seconds between looks at what workers say."""


def trainings_of(asked: Asked, out: Path, device: str = "cpu") -> list[Training]:
    """What was asked for in words: one training, or one for each seed or fold.

    Raises:
        BadInput: for names and settings that cannot be right.
    """
    recipe, options = make(RECIPES, asked.recipe, asked.setting), dict(asked.network_option)
    one = Training(recipe, out, asked.network, options, asked.seed, asked.validation, asked.patience, device)
    if asked.seeds is not None:
        return of_seeds(one, asked.seeds)
    return [one] if asked.folds is None else of_folds(one, asked.folds)


def train_asked(asked: Asked, trainings: Sequence[Training], progress: Observer) -> None:
    """Do what :func:`trainings_of` found, and show how far it is; what is done already is not done again.

    Raises:
        CertifyError: for data that cannot be loaded, and as :func:`train_all`.
    """
    alone = asked.workers == 1 or len(trainings) == 1
    data = load_data(asked.data) if alone else asked.data  # each worker loads what it trains on
    total = sum(one.recipe.epochs for one in trainings)
    with progress.stage(f"training ({asked.recipe})", total, unit="epochs") as advance:
        train_all(trainings, data, asked.workers, advance)


def of_seeds(training: Training, seeds: int) -> list[Training]:
    """One training for each of so many seeds, from that of ``training`` on, in folders ``seed-0``, ``seed-1``, ...

    Raises:
        BadInput: for fewer than two, a seed below 0, or a folder that is a model itself.
    """
    if seeds < 2:
        raise BadInput(f"seeds must be a whole number of at least 2, got {seeds}; one training has --seed")
    if training.seed < 0:
        raise BadInput(f"the first of several seeds must be at least 0, got {training.seed}: it names a folder")
    _check_free(training.out)
    chosen = range(training.seed, training.seed + seeds)
    return [replace(training, seed=seed, out=training.out / f"seed-{seed}") for seed in chosen]


def of_folds(training: Training, folds: int) -> list[Training]:
    """One training for each of so many folds of the data, on all others, in folders ``fold-0``, ``fold-1``, ...

    Raises:
        BadInput: for fewer than two, or a folder that is a model itself.
    """
    check_folds(folds)
    _check_free(training.out)
    return [replace(training, fold=(fold, folds), out=training.out / f"fold-{fold}") for fold in range(folds)]


def _check_free(folder: Path) -> None:
    """Refuse a folder whose models would not be seen behind its own."""
    if (folder / RECORD).exists() or (folder / CHECKPOINT).exists():
        raise BadInput(f"{folder} holds one model itself: choose another folder for several")


def train_all(trainings: Sequence[Training], data: str | Dataset, workers: int, advance: Advance) -> None:
    """Carry out all trainings, several at once in processes of their own: each works on one core.

    Args:
        trainings: what to do; those that are done already are not done again.
        data: what to train on, or its SPEC, which every process then loads.
        workers: how many at once.
        advance: is told of every epoch of every training.

    Raises:
        BadInput, ModelError: of the first training that failed; the others were finished first.
    """
    if workers < 1:
        raise BadInput(f"workers must be a whole number above 0, got {workers}")
    if workers == 1 or len(trainings) == 1:
        loaded = load_data(data) if isinstance(data, str) else data
        failed = []
        for training in trainings:
            try:
                training.run(loaded, _named(training, advance))
            except CertifyError as problem:
                failed.append(problem)
        if failed:
            raise failed[0]
        return
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    told: Any = context.Queue()
    pool = ProcessPoolExecutor(min(workers, len(trainings)), context, _begin, (told,))
    try:
        futures = [pool.submit(_carry_out, training, data) for training in trainings]
        _listen(futures, told, advance)
        for future in futures:
            future.result()
    except BrokenProcessPool as problem:
        raise ModelError(
            "a training process was ended from outside, perhaps for its memory: the same command resumes; use fewer "
            "workers"
        ) from problem
    except BaseException:  # interrupted: what each finished is on disk
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _listen(futures: Sequence[Future[None]], told: Any, advance: Advance) -> None:
    """Pass on what workers say until all have ended."""
    waiting = set(futures)
    while waiting:
        _, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
        while True:
            try:
                advance(*told.get_nowait())
            except queue.Empty:
                break


def _named(training: Training, advance: Advance) -> Callable[[int, str], None]:
    """Progress that says which of several trainings it is about."""
    return lambda count, note: advance(count, f"{training.out.name}  {note}")


_told: Any = None
"""In a worker: where it tells its progress."""


def _begin(told: Any) -> None:
    global _told  # noqa: PLW0603 (what a pool gives its workers)
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it is interrupted too, and ends it
    parent = multiprocessing.parent_process()
    end_with_parent(None if parent is None else parent.pid)  # nobody would know that it goes on
    tune_process()


def _carry_out(training: Training, data: str | Dataset) -> None:
    loaded = load_data(data) if isinstance(data, str) else data
    training.run(loaded, _named(training, lambda count, note: _told.put((count, note))))
