"""`review`: a change as a diff of metrics, with what made it: Markdown for a pull request, and a page to look at."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops.base import pages, params
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.history import paths, revisions
from mlops.history.revisions import Revision
from mlops.intake import tables

if TYPE_CHECKING:
    import pandas as pd

    from mlops.evaluation.changes import Rows
    from mlops.training.metrics import Predictions

LABELS = {"confusion": ("actual", "predicted")}  # the columns of a plot that are no numbers
CODE = ("*.py", "mlops/base/templates/*", "dvc.yaml")


def review(
    base: Annotated[str, typer.Argument(help="What to compare with; by default where the main branch was left.")] = "",
    html: Annotated[Path | None, typer.Option(help="Also write a page with the plots of both versions.")] = None,
    fail_on: Annotated[
        Literal["regression"] | None,
        typer.Option(help="Exit with 1 if the headline got really worse, or the gate shut."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say as Markdown what the work tree changes, what that did to the metrics, and whether it is more than noise.

    Raises:
        StoreError: there is nothing to compare with, or no result on one side.
    """
    before = revisions.find(base) if base else revisions.merge_base()
    now = revisions.find("")
    found = facts(before, now)
    if html:
        from mlops.evaluation import figures

        drawn = figures.of_curves(_curves(now), _curves(before))
        pages.write_page(html, "review.html", figures=drawn, **found)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else pages.filled("review.md", **found))
    if fail_on and found["regression"]:
        sys.exit(1)


def facts(before: Revision, now: Revision) -> dict[str, Any]:
    """All that is to be said, as plain values.

    Of a side whose data cannot be had (a fork has no credentials), what Git has is said, and why the rest is missing.
    """
    said = now.json(paths.EVALUATION)
    metrics, note = _metrics(before, now, said["headline"])
    headline = next(row for row in metrics["rows"] if row["metric"] == said["headline"])
    gate, earlier = now.json(paths.REGISTRATION), before.json(paths.REGISTRATION)
    return {
        "before": before.short,
        "now": now.short,
        "headline": headline,
        "metrics": metrics,
        "note": note,
        "gate": {"passed": gate["passed"], "passed_before": earlier["passed"], "rules": gate["rules"]},
        "regression": headline["verdict"] == "worse" or (earlier["passed"] and not gate["passed"]),
        "parameters": _parameters(before, now),
        "data": _data(before, now),
        "code": _code(before, now),
        "environment": _environment(before, now),
        "stages": [name for name, entry in now.stages.items() if entry != before.stages.get(name)],
        "not_run": [] if now.commit else now.stale(),
    }


def _metrics(before: Revision, now: Revision, headline: str) -> tuple[dict[str, Any], str | None]:
    """Every metric side by side, and the groups that got worse; a note where intervals cannot be computed."""
    from mlops.evaluation import comparison
    from mlops.training.metrics import title

    settings = params.load(params.Evaluate)
    then, today = before.json(paths.METRICS), now.json(paths.METRICS)
    note, differences, groups, shared = None, {}, [], 0
    try:
        (kept, one), (kept_now, other) = before.predictions(), now.predictions()
        pairs = comparison.shared_rows(kept["row"].to_numpy(), kept_now["row"].to_numpy())
        shared = len(pairs.one)
        if one.classes != other.classes:
            note = "the two versions predict other classes, so rows cannot be compared"
        elif not shared:
            note = "the two test splits share no row, so there is no interval of the difference"
        else:
            sides = comparison.on_the_same_rows(one, other, pairs)
            drawn = comparison.paired_bootstrap(*sides, settings.resamples, settings.confidence, settings.seed)
            differences = {difference.metric: difference for difference in drawn}
            groups = _groups(now, pairs.other, sides, headline, settings)
    except StoreError as error:
        note = f"no interval and no verdict: {error}"
    rows = []
    for name in dict.fromkeys([headline, *today, *then]):
        found = differences.get(name)
        nothing = {"difference": None, "low": None, "high": None, "verdict": None}
        row = {"metric": name, "title": title(name), "before": then.get(name), "now": today.get(name), **nothing}
        if found:
            row |= {key: value for key, value in found.as_dict().items() if key in nothing}
        elif None not in (row["before"], row["now"]):
            row["difference"] = row["now"] - row["before"]
        rows.append(row)
    rose = headline in differences and differences[headline].verdict == "better"
    sizes = {"test_rows_before": _tested(before), "test_rows": _tested(now), "shared_rows": shared}
    fell = [group for group in groups if group["verdict"] == "worse" or (rose and _gain(group) < 0)]
    return {"rows": rows, "confidence": settings.confidence, **sizes, "groups": fell}, note


def _groups(
    now: Revision, rows: Any, sides: "tuple[Predictions, Predictions]", metric: str, settings: params.Evaluate
) -> list[dict[str, Any]]:
    """The headline metric within each level of the sensitive columns, on the shared rows."""
    from mlops.evaluation import changes

    sensitive = now.schema().sensitive
    if not sensitive:
        return []
    table = tables.read(now.kept(paths.TEST), sensitive).iloc[rows]
    return changes.of_groups(*sides, table, metric, settings.resamples, settings.confidence, settings.seed)


def _gain(found: dict[str, Any]) -> float:
    """How much better the other model is, 0 where nothing is defined: above zero if the metric got better."""
    from mlops.training.metrics import HIGHER_IS_BETTER

    difference = found["difference"] or 0.0
    return difference if HIGHER_IS_BETTER[found["metric"]] else -difference


def _tested(revision: Revision) -> int:
    return int(revision.json(paths.DATASET)["split"]["test"])


def _parameters(before: Revision, now: Revision) -> list[dict[str, Any]]:
    from mlops.evaluation import changes

    return changes.of_values(*(params.flat(side.yaml(params.FILE)) for side in (before, now)))


def _environment(before: Revision, now: Revision) -> list[dict[str, Any]]:
    from mlops.evaluation import changes

    return changes.of_values(*(changes.packages(side.text(Path("requirements.txt")) or "") for side in (before, now)))


def _code(before: Revision, now: Revision) -> list[dict[str, Any]]:
    """Files of code that differ, with the lines added and removed; those that Git does not know yet count as added."""
    return [
        {"path": path, "added": added, "removed": removed}
        for path, added, removed in revisions.changed_files(before, now, CODE)
    ]


def _data(before: Revision, now: Revision) -> dict[str, Any]:
    """What changed of the prepared data: its digest, rows and columns, and how far the training data drifted."""
    sides = [side.json(paths.DATASET) for side in (before, now)]
    found: dict[str, Any] = {
        "digest_before": sides[0]["digest"],
        "digest": sides[1]["digest"],
        "changed": sides[0]["digest"] != sides[1]["digest"],
        "rows": None,
        "columns": _columns(before, now),
        "drift": [],
        "note": None,
    }
    if found["changed"]:
        try:
            found["rows"] = _rows(before, now).as_dict()
            found["drift"] = _drift(before, now)
        except StoreError as error:
            found["note"] = f"rows could not be compared: {error}"
    return found


def _columns(before: Revision, now: Revision) -> list[dict[str, Any]]:
    """The columns whose type or role in schema.yaml changed, came or went."""
    from mlops.evaluation import changes

    def said(side: Revision) -> dict[str, str]:
        columns = side.yaml(paths.SCHEMA)["columns"]
        return {name: f"{column.get('role', 'feature')}, {column['type']}" for name, column in columns.items()}

    return changes.of_values(said(before), said(now))


def _rows(before: Revision, now: Revision) -> "Rows":
    """Rows that came, went and changed, by the columns that both versions have."""
    from mlops.evaluation import changes

    then, today = before.schema(), now.schema()
    both = [name for name in today.kept if name in then.kept]
    ids = [name for name in today.with_role("id") if name in both]
    tables = [_hashes(side, both, ids) for side in (before, now)]
    if ids:
        return changes.of_rows_with_ids(*tables)
    return changes.of_rows(*(table["row"].to_numpy() for table in tables))


def _hashes(side: Revision, columns: list[str], ids: list[str]) -> "pd.DataFrame":
    """Hashes of the rows of both splits, a batch at a time: of all `columns`, and of the `ids`."""
    import pandas as pd

    from mlops.data import digest

    return pd.concat(
        [
            pd.DataFrame(
                {"row": digest.row_hashes(batch[columns]), **({"id": digest.row_hashes(batch[ids])} if ids else {})}
            )
            for split in (paths.TRAIN, paths.TEST)
            for batch in tables.Stored(side.kept(split)).batches()
        ],
        ignore_index=True,
    )


def _drift(before: Revision, now: Revision) -> list[dict[str, Any]]:
    """The columns of the training data whose distribution changed, the furthest first."""
    from mlops.monitoring import drift

    settings = params.load(params.Monitor)
    then, today = before.profile(), now.profile()
    names = [name for name in today if name in then and then[name].kind == today[name].kind]
    found = [column for column in drift.compare(then, today, names, settings) if column.drifted]
    return [
        {"column": column.column, "effect": column.effect, "mean_before": column.baseline_mean, "mean": column.new_mean}
        for column in sorted(found, key=lambda column: -column.effect)
    ]


def _curves(side: Revision) -> "dict[str, pd.DataFrame]":
    from mlops.evaluation.curves import COLUMNS

    return {name: side.csv(paths.PLOTS / f"{name}.csv", LABELS.get(name, ())) for name in COLUMNS}
