"""Parallel work by the project's own metrics, of which other processes have to hear."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from mlops.base import parallel
from mlops.training import metrics

T = TypeVar("T")


def each(
    function: Callable[..., T],
    shared: tuple[Any, ...],
    items: Iterable[Sequence[Any]],
    threads: int,
    *,
    at_once: bool = True,
) -> Iterator[T]:
    """As `mlops.base.parallel.each`, where the project's own metrics are declared everywhere."""
    own: dict[Callable[..., float], Literal["higher", "lower"]] = {
        one: "higher" if metrics.HIGHER_IS_BETTER[name] else "lower" for name, one in metrics.OWN.items()
    }
    return parallel.each(function, shared, items, threads, at_once=at_once, first=partial(metrics.declare, own))
