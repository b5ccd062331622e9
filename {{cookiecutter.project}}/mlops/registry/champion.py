"""Compare a model with the champion, the version in production."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.base.params import Evaluate
from mlops.evaluation.gate import Gain
from mlops.intake import tables
from mlops.registry import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlops.training.metrics import Predictions


def gain(predictions: Path, evaluation: Path, name: str, uri: str, judging: Evaluate) -> dict[str, Gain] | None:
    """Improvement of each metric over the champion on shared test rows, positive if the model is better.

    Its interval is that of the paired bootstrap. None if there is no champion.

    Raises:
        StoreError: the registry cannot be reached, or no longer has the champion's predictions.
    """
    from mlops.evaluation import comparison

    with registry.opened(uri) as client, tempfile.TemporaryDirectory() as folder:
        version = registry.in_production(registry.versions(client, name))
        if version is None:
            return None
        paths = [registry.artifact(client, version.run_id, path, Path(folder)) for path in (predictions, evaluation)]
        champion_rows, champion = _read(*paths)
    rows, challenger = _read(predictions, evaluation)
    pairs = comparison.shared_rows(champion_rows, rows)
    champion, challenger = comparison.on_the_same_rows(champion, challenger, pairs)
    if not len(pairs.one) or champion.classes != challenger.classes:
        raise StoreError(
            f"version {version.number}, the champion, was judged on other rows or classes: compare it by hand "
            "(`python -m mlops review`), and take the rule of measure gain out of register.gate meanwhile"
        )
    found = comparison.paired_bootstrap(champion, challenger, judging.resamples, judging.confidence, judging.seed)
    return {each.metric: Gain(*each.gain, len(pairs.one)) for each in found}


def _read(predictions: Path, evaluation: Path) -> "tuple[NDArray[np.uint64], Predictions]":
    """The row digests (n,) and the predictions of a model on its test split."""
    from mlops.evaluation import results

    table, report = tables.read(predictions), files.read_json(evaluation)
    return table["row"].to_numpy(), results.from_frame(table, report["labels"], report["positive"])
