"""The one place where work runs in parallel: whole folds, candidates, features, blocks of resamples, batches of rows.

They run on threads of this machine, or on what a stage has named: the workers of a Dask cluster.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
# Runs pieces of work elsewhere: their name, a function, the arguments of all calls, those of each, and threads.
Run = Callable[[str, Callable[..., Any], tuple[Any, ...], Iterable[Sequence[Any]], int], Iterator[Any]]
_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def run_by(run: Run | None) -> Iterator[None]:
    """Let `run` (of `mlops.base.cluster`) do the parallel work; with None, threads of this machine do it."""
    before = _run.set(run)
    try:
        yield
    finally:
        _run.reset(before)


def each(
    function: Callable[..., T],
    shared: tuple[Any, ...],
    items: Iterable[Sequence[Any]],
    threads: int,
    *,
    at_once: bool = True,
    first: Callable[[], None] | None = None,
    name: str = "",
) -> Iterator[T]:
    """Call `function` with `shared` and the arguments in each of `items`; yield its answers, in the order of the items.

    `function` is one of a module, and what all calls need is in `shared`: to another machine, a function goes by its
    name, and `shared` only once. Items are taken as they are needed: they may be larger than memory together. Another
    process calls `first` before, and a person reads `name`, by default that of the function.

    Estimators and BLAS run on `threads` threads in every call. The limit is set around all calls: it belongs to the
    whole process, and the first call to end would lift it for the others. Unless `at_once`, this machine makes one call
    after the other.
    """
    if run := _run.get():
        with _each_warning_once():
            yield from run(name or function.__name__.strip("_"), _elsewhere, (first, function, shared), items, threads)
        return
    if not at_once:
        yield from (function(*shared, *arguments) for arguments in items)
        return
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads), _each_warning_once():
        yield from Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(function)(*shared, *arguments) for arguments in items
        )


def is_elsewhere() -> bool:
    """Whether other machines do the parallel work."""
    return _run.get() is not None


def _elsewhere(
    first: Callable[[], None] | None, function: Callable[..., T], shared: tuple[Any, ...], *arguments: Any
) -> T:
    if first:
        first()
    return function(*shared, *arguments)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Show a warning once, and none of scikit-learn's about its own `delayed`.

    Filters of warnings belong to the whole process, too. Scikit-learn's forests set them in every call, so that a
    thread may find none: each call warns of that, thousands of times.
    """
    show, shown = warnings.showwarning, {"sklearn.utils.parallel.delayed"}

    def once(message: Warning | str, *where: Any, **more: Any) -> None:
        text = str(message)
        if not any(known in text for known in shown):
            shown.add(text)
            show(message, *where, **more)

    warnings.showwarning = once
    try:
        yield
    finally:
        warnings.showwarning = show
