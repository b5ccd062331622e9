"""The one place where work runs in parallel: whole folds, candidates and features, on threads of this machine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def each(function: Callable[..., T], items: Iterable[Sequence[Any]], threads: int) -> Iterator[T]:
    """Call `function` with the arguments in each of `items`; yield what it returns, in the order of the items.

    Estimators and BLAS run on `threads` threads in every call. The limit is set around all calls: it belongs to the
    whole process, and the first call to end would lift it for the others.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        yield from Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(function)(*arguments) for arguments in items
        )
