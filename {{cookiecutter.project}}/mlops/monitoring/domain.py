"""Whether a classifier tells the rows of a delivery from those of the training data: drift of all columns together.

Columns can keep their distributions while what they have to do with each other changes. A classifier is fitted on one
half of the rows of both sides and judged on the other half, by its area under the ROC curve (AUC; 0.5 is chance) with
DeLong's interval. Half and half, since DeLong's interval is too narrow for the pooled scores of cross-validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.params import Monitor
from mlops.data.profile import KIND
from mlops.data.schema import Schema

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

ROWS = 5_000  # of a side, at most
LEAST_ROWS = 100  # of a side
SEED = 0
RARE = 10  # rows of both sides, below which a level shares a number with others
MOST_PAIRED = 500  # columns whose correlations are compared; their number grows with the square
PAIRS = 5  # whose products the classifier gets, at most
CHANCE = 0.05  # that any pair is taken whose correlation did not change
MOST_FEATURES = 50  # that a split chooses from
CANDIDATES = 20  # columns that the trees use most, of which it is measured what they tell
NAMED = 10
LEAST_IMPORTANCE = 0.002  # fall of the AUC


@dataclass(frozen=True)
class Importance:
    """How much the AUC falls without what a column tells: its values are shuffled on the rows that judge."""

    column: str
    importance: float


@dataclass(frozen=True)
class Domain:
    """How well the rows of two sides can be told apart: the AUC and its interval (0 to 1), and whether that is drift.

    `rows` are those of (reference, delivery) that were used, half of them to fit; `columns` are those that tell the
    sides apart, the most important first; empty without drift.
    """

    auc: float
    low: float
    high: float
    drifted: bool
    rows: tuple[int, int]
    columns: list[Importance]


def needed(schema: Schema) -> list[str]:
    """The columns that `compare` takes, where a table has them: the features, and the group of a row."""
    return [*schema.features, *schema.with_role("group")]


class Sampled(Protocol):
    """A table of which a sample is drawn: `mlops.intake.tables.Stored`, say."""

    def sample(self, most: int, seed: int, names: list[str]) -> pd.DataFrame:
        """At most `most` rows, drawn by `seed`, with the named columns that the table has."""


def sample(table: Sampled, schema: Schema) -> pd.DataFrame:
    """The rows of a side that `compare` takes: 5,000 at most, always the same ones."""
    return table.sample(ROWS, SEED, needed(schema))


def compare(
    reference: pd.DataFrame, delivery: pd.DataFrame, names: Sequence[str], schema: Schema, limits: Monitor
) -> Domain | str:
    """Fit a classifier that tells typed rows of the delivery (m rows) from those of the reference (n rows) by `names`.

    It is drift if the AUC reaches `limits.domain_auc` and its interval (at 1 − `limits.p_value`) lies above 0.5. Rows
    of one group are in the same half, and count as one in the interval. The same rows give the same bits on any number
    of cores. A sentence says why nothing was computed.
    """
    sizes = len(reference), len(delivery)
    if min(sizes) < LEAST_ROWS:
        return f"too few rows to compare all columns together: {min(sizes)} on one side, {LEAST_ROWS} at least"
    if not names:
        return "no feature is watched"
    both = pd.concat([reference, delivery], ignore_index=True)
    new = np.arange(len(both)) >= len(reference)
    groups = _groups(both, schema)
    fitted = _half(groups, new)
    if min(len(np.unique(groups[side])) for half in (fitted, ~fitted) for side in (half & new, half & ~new)) < 2:
        return "too few groups of rows to compare all columns together"
    scores = np.column_stack([_scores(both[name], KIND[schema.columns[name].type]) for name in names])
    pairs = _changed_pairs(scores[fitted], new[fitted])
    trees = _fit(_with_products(scores[fitted], pairs), new[fitted])
    judged, sides, clusters = scores[~fitted], new[~fitted], groups[~fitted]
    auc, low, high = delong(_answers(trees, judged, pairs), sides, 1 - limits.p_value, clusters)
    drifted = auc >= limits.domain_auc and low > 0.5
    columns = _importances(trees, judged, sides, pairs, names, auc) if drifted else []
    return Domain(auc, low, high, drifted, sizes, columns)


def _groups(rows: pd.DataFrame, schema: Schema) -> NDArray[np.intp]:
    """A number for each row (n,), the same for rows of one group; every row is a group of its own if no column says."""
    named = [name for name in schema.with_role("group") if name in rows and rows[name].notna().all()]
    return pd.factorize(rows[named[0]])[0] if named else np.arange(len(rows))


def _half(groups: NDArray[np.intp], new: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows (n,) the classifier is fitted on: half of the groups of either side, whole groups on both sides."""
    random = np.random.default_rng(SEED)
    chosen = np.zeros(groups.max() + 1, dtype=bool)
    delivered = np.unique(groups[new])
    for side in (np.setdiff1d(groups, delivered), delivered):
        chosen[random.permutation(side)[: len(side) // 2]] = True
    half: NDArray[np.bool_] = chosen[groups]
    return half


def _scores(values: pd.Series, kind: str) -> NDArray[np.float64]:
    """The normal scores (van der Waerden 1952) of the values (n,) by their ranks; NaN is missing.

    Levels are ranked by their rows, whatever their side: an order by the side would give the answer away. The model's
    own encoder would hide what is missing and what is unseen.
    """
    from scipy import special

    scores = np.full(len(values), np.nan)
    present = values.notna().to_numpy(dtype=bool)
    given = values[present]
    if not len(given):
        return np.zeros(len(values))
    if kind == "category":
        codes, levels = pd.factorize(given.astype("str"), sort=True)
        rows = np.bincount(codes, minlength=len(levels))
        order = np.argsort(np.where(rows < RARE, -1, rows), kind="stable")
        place = np.empty(len(levels), dtype=np.int64)
        place[order] = np.maximum(np.arange(len(levels)) - int(np.sum(rows < RARE)) + 1, 0)  # 0: rare
        numbers = place[codes].astype(np.float64)
    elif given.dtype.kind == "M":
        numbers = given.astype("datetime64[us]").astype("int64").to_numpy().astype(np.float64)
    else:
        numbers = given.to_numpy(dtype=np.float64)
    scores[present] = special.ndtri((_midranks(numbers) - 0.5) / len(numbers))
    return scores


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks (n,) from 1 on; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _changed_pairs(scores: NDArray[np.float64], new: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The pairs of columns (n, d) whose correlation differs most between the sides, by Fisher's z (1921).

    Trees split by one column at a time, and find no first split where only two together tell something. A pair has to
    differ by more than chance, at a level adjusted for the number of pairs (Bonferroni).
    """
    from scipy import special

    width = min(scores.shape[1], MOST_PAIRED)
    if width < 2 or min(new.sum(), (~new).sum()) < 5:
        return []
    z = [np.arctanh(np.clip(_correlations(scores[side, :width]), -0.999, 0.999)) for side in (new, ~new)]
    noise = np.sqrt(1 / (new.sum() - 3) + 1 / ((~new).sum() - 3))
    first, second = np.triu_indices(width, 1)
    apart = np.abs(z[0] - z[1])[first, second] / noise
    largest = np.argsort(-apart, kind="stable")[:PAIRS]
    limit = -special.ndtri(CHANCE / 2 / len(apart))
    return [(int(first[pair]), int(second[pair])) for pair in largest if apart[pair] > limit]


def _correlations(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlations (d, d) of columns (n, d); a missing value counts as the mean, and a constant has none."""
    known = ~np.isnan(scores)
    apart = np.where(known, scores - np.sum(np.where(known, scores, 0), axis=0) / np.maximum(known.sum(axis=0), 1), 0)
    lengths = np.sqrt(np.sum(apart**2, axis=0))
    apart /= np.where(lengths > 0, lengths, 1)
    # A product of matrices would use BLAS, which adds in another order on another number of cores.
    found: NDArray[np.float64] = np.einsum("ni,nj->ij", apart, apart)
    return found


def _with_products(scores: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """The columns (n, d) and the product of each pair; missing where one is missing."""
    return np.column_stack([scores, *(scores[:, one] * scores[:, other] for one, other in pairs)])


def _fit(features: NDArray[np.float64], new: NDArray[np.bool_]) -> "ExtraTreesClassifier":
    """Small trees with random splits (Geurts 2006): as good here as a forest, in half the time."""
    from sklearn.ensemble import ExtraTreesClassifier

    trees = ExtraTreesClassifier(
        100,
        max_depth=8,
        min_samples_leaf=5,
        max_features=min((features.shape[1] + 1) // 2, MOST_FEATURES),
        class_weight="balanced",
        random_state=SEED,
        n_jobs=1,
    )
    return trees.fit(features, new)


def _answers(
    trees: "ExtraTreesClassifier", scores: NDArray[np.float64], pairs: Sequence[tuple[int, int]]
) -> NDArray[np.float64]:
    """How likely each row (n,) is from the delivery."""
    answers: NDArray[np.float64] = trees.predict_proba(_with_products(scores, pairs))[:, 1]
    return answers


def delong(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    confidence: float,
    clusters: NDArray[np.integer[Any]] | None = None,
) -> tuple[float, float, float]:
    """The AUC of scores (n,) and the ends of its interval at `confidence` (DeLong et al. 1988; by ranks: Sun 2014).

    Rows of one of the `clusters` (n,) count as one observation of several values (Obuchowski 1997; clusters that have
    rows of both sides are taken for two).
    """
    from scipy import special

    clusters = np.arange(len(scores)) if clusters is None else clusters
    ranks, shares, variance = _midranks(scores), [], 0.0
    for side in (positive, ~positive):
        # The share of the other side's rows that a row outscores.
        share = (ranks[side] - _midranks(scores[side])) / np.sum(~side)
        _, cluster = np.unique(clusters[side], return_inverse=True)
        apart, count = np.bincount(cluster, share - share.mean()), int(cluster.max()) + 1
        variance += count / max(count - 1, 1) * float(np.sum(apart**2)) / len(share) ** 2
        shares.append(float(share.mean()))
    auc, reach = shares[0], float(special.ndtri((1 + confidence) / 2)) * variance**0.5
    return auc, max(auc - reach, 0.0), min(auc + reach, 1.0)


def _importances(
    trees: "ExtraTreesClassifier",
    scores: NDArray[np.float64],
    new: NDArray[np.bool_],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    auc: float,
) -> list[Importance]:
    """The columns without whose values the AUC falls (permutation importance, Breiman 2001), the largest fall first."""
    random = np.random.default_rng(SEED)
    used = trees.feature_importances_[: len(names)].copy()
    for pair, share in zip(pairs, trees.feature_importances_[len(names) :], strict=True):
        used[list(pair)] += share
    found = []
    for column in np.argsort(-used, kind="stable")[:CANDIDATES]:
        shuffled = scores.copy()
        shuffled[:, column] = random.permutation(shuffled[:, column])
        fall = auc - delong(_answers(trees, shuffled, pairs), new, 0.95)[0]
        found.append(Importance(names[column], fall))
    ordered = sorted(found, key=lambda column: -column.importance)
    return [column for column in ordered if column.importance >= LEAST_IMPORTANCE][:NAMED]
