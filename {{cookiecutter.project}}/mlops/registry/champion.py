"""The version in production, as something to compare with."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.intake import tables
from mlops.registry import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlops.training.metrics import Predictions


def gain(predictions: Path, evaluation: Path, name: str, uri: str) -> dict[str, float | None] | None:
    """By what a model's metrics are better than the champion's, on the test rows that both were judged on.

    More is better for each of them; None where there is no champion.

    Raises:
        StoreError: the registry cannot be reached, or does not have the champion's predictions any more.
    """
    from mlops.evaluation import comparison
    from mlops.training.metrics import HIGHER_IS_BETTER, score

    with registry.opened(uri) as client, tempfile.TemporaryDirectory() as folder:
        version = registry.in_production(client, name)
        if version is None:
            return None
        kept = [registry.artifact(client, version.run_id, path, Path(folder)) for path in (predictions, evaluation)]
        sides = [_read(*kept), _read(predictions, evaluation)]
    pairs = comparison.shared_rows(*(rows for rows, _ in sides))
    one, other = comparison.on_the_same_rows(sides[0][1], sides[1][1], pairs)
    if not len(pairs.one) or one.classes != other.classes:
        raise StoreError(
            f"version {version.number}, the champion, was judged on other rows or classes: compare it by hand "
            "(`python -m mlops review`), and take the rule of measure gain out of register.gate meanwhile"
        )
    before, now = score(one), score(other)
    return {
        metric: (value - before[metric]) * (1 if HIGHER_IS_BETTER[metric] else -1)
        for metric, value in now.items()
        if metric in before
    }


def _read(predictions: Path, evaluation: Path) -> "tuple[NDArray[np.uint64], Predictions]":
    from mlops.evaluation import results

    kept, said = tables.read(predictions), files.read_json(evaluation)
    return kept["row"].to_numpy(), results.from_frame(kept, said["labels"], said["positive"])
