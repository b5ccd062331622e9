"""The one place where work runs in parallel: whole folds, candidates and features, on threads of this machine."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def each(function: Callable[..., T], items: Iterable[Sequence[Any]], threads: int) -> Iterator[T]:
    """Call `function` with the arguments in each of `items`; yield what it returns, in the order of the items.

    Estimators and BLAS run on `threads` threads in every call. The limit is set around all calls: it belongs to the
    whole process, and the first call to end would lift it for the others.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads), _each_warning_once():
        yield from Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(function)(*arguments) for arguments in items
        )


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
