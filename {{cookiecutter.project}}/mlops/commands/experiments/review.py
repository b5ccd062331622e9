"""`review`: what a change did to the metrics, as Markdown for a pull request and as a page with plots."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops.base import console, pages, params
from mlops.base.errors import SchemaError, StoreError
from mlops.commands.options import AsJson
from mlops.history import paths, revisions
from mlops.history.revisions import Revision
from mlops.intake import tables

if TYPE_CHECKING:
    import pandas as pd

    from mlops.data.schema import Schema
    from mlops.evaluation.changes import Rows
    from mlops.evaluation.comparison import Pairs
    from mlops.training.metrics import Predictions

    Paired = tuple[Pairs, tuple[Predictions, Predictions]]

LABELS = {"confusion": ("actual", "predicted")}  # columns of a plot that hold words
ROUNDING = 1e-9  # reports have 12 digits
CODE = ("*.py", "mlops/base/templates/*", "dvc.yaml")


def review(
    base: Annotated[str, typer.Argument(help="Commit or branch to compare with; by default where main was left.")] = "",
    html: Annotated[Path | None, typer.Option(help="Also write a page with the plots of both versions.")] = None,
    fail_on: Annotated[
        Literal["regression"] | None,
        typer.Option(help="`regression`: exit with 3 if it is really worse, or no change explains a result."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed since main, and whether it is really better.

    The results of the work tree, with all that is not committed, are compared with those of `base`, in Markdown.

    Raises:
        DataError: a report says something else than the predictions.
        StoreError: there is no base to compare with, or the work tree has no result.
    """
    from mlops.training.metrics import declare
    from project.metrics import METRICS

    declare(METRICS)
    before = revisions.find(base) if base else revisions.merge_base()
    now = revisions.find("")
    report = facts(before, now, strict=fail_on is not None)
    if html:
        from mlops.evaluation import figures

        curves = figures.of_curves(_curves(now, []), _curves(before, report["left_out"]))
        pages.write_page(html, "review.html", figures=curves, **report)
    if as_json:
        console.print_json(report)
    else:
        typer.echo(pages.filled("review.md", **report))
    if fail_on and (report["regression"] or report["unexplained"]):
        sys.exit(console.VERDICT)


def facts(before: Revision, now: Revision, *, strict: bool = False) -> dict[str, Any]:
    """All facts of a review as plain values.

    A missing file of the base is `left_out`. Without the data (a fork has no credentials), the facts are those of Git,
    and a `note` has the reason.
    """
    from mlops.evaluation.changes import packages

    _check_reports(now, strict=strict)
    gate, passed_before = now.json(paths.REGISTRATION), _read(before, paths.REGISTRATION).get("passed")
    paired, note = _paired(before, now)
    metrics = _metrics(before, now, _headline(now), paired)
    headline = metrics["rows"][0]
    return {
        "before": before.short,
        "now": now.short,
        "left_out": _left_out(before, now),
        "headline": headline,
        "metrics": metrics,
        "threshold": _threshold(before, now, paired),
        "note": note,
        "gate": {"passed": gate["passed"], "passed_before": passed_before, "rules": gate["rules"]},
        "regression": headline["verdict"] == "worse" or bool(passed_before and not gate["passed"]),
        "parameters": _changes(before, now, lambda side: params.flat(_read(side, params.FILE))),
        "data": _data(before, now),
        "delivery": _delivery(before, now),
        "code": [
            {"path": path, "added": added, "removed": removed}
            for path, added, removed in revisions.changed_files(before, now, CODE)
        ],
        "environment": _changes(before, now, lambda side: packages(side.text(paths.REQUIREMENTS) or "")),
        "stages": [name for name, entry in now.stages.items() if entry != before.stages.get(name)],
        "unexplained": _unexplained(before, now),
        "not_run": [] if now.commit else now.stale(),
    }


def _check_reports(now: Revision, *, strict: bool) -> None:
    """Compare the reports with the predictions; unless `strict`, they may be missing, as in a fork."""
    from mlops.evaluation import recomputation, results

    try:
        table, predictions = now.predictions()
        target = now.profile()[now.schema().target]
    except StoreError:
        if strict:
            raise
        return
    groups = now.csv(paths.SLICES, text=("column", "level"))
    if results.groups_of(table).empty:  # an older pipeline did not keep them
        groups = groups[:0]
    metrics, gaps = now.json(paths.METRICS), now.json(paths.FAIRNESS)["gaps"] if len(groups) else {}
    constant = _read(now, paths.BASELINE)
    recomputation.check(table, predictions, metrics, constant, groups, gaps, target, params.load(params.Evaluate))


def _headline(now: Revision) -> str:
    """The metric that params.yaml means. The data say what `auto` is, or, where they are missing, a report."""
    from mlops.evaluation import baseline

    asked = params.load(params.Evaluate).metric
    try:
        target = now.profile()[now.schema().target]
        return baseline.headline(now.predictions()[1], target, asked).metric
    except StoreError:
        return now.headline if asked == "auto" else asked


def _unexplained(before: Revision, now: Revision) -> list[dict[str, Any]]:
    """The stages that have the same inputs, code and parameters as before, and other results: somebody wrote those."""

    def inputs(entry: dict[str, Any]) -> list[Any]:
        return [entry.get(side) for side in ("cmd", "deps", "params")]

    found = []
    for name, entry in now.stages.items():
        earlier = before.stages.get(name, {})
        known = {out["path"]: out["md5"] for out in earlier.get("outs", [])}
        changed = [out["path"] for out in entry.get("outs", []) if out["md5"] != known.get(out["path"])]
        if changed and inputs(entry) == inputs(earlier):
            found.append({"stage": name, "files": changed})
    return found


def _read(side: Revision, path: Path) -> Any:
    """The content of a JSON or YAML file; empty if the revision has no such file."""
    read = side.json if path.suffix == ".json" else side.yaml
    return read(path) if side.text(path) is not None else {}


def _left_out(before: Revision, now: Revision) -> list[str]:
    """The files that the base lacks, and its plots whose columns are not those of today."""
    from mlops.evaluation.curves import COLUMNS

    files = [params.FILE, paths.SCHEMA, paths.DATASET, paths.METRICS, paths.REGISTRATION]
    missing = [path for path in files if before.text(path) is None]
    plots = [paths.PLOTS / f"{name}.csv" for name in COLUMNS]
    headers = {path: [(side.text(path) or "").partition("\n")[0] for side in (before, now)] for path in plots}
    return [path.as_posix() for path in (*missing, *(path for path in plots if headers[path][0] != headers[path][1]))]


def _changes(before: Revision, now: Revision, values: Callable[[Revision], dict[str, Any]]) -> list[dict[str, Any]]:
    from mlops.evaluation import changes

    return changes.of_values(values(before), values(now))


def _tested(side: Revision) -> int | None:
    """How many test rows a version was judged on: all, or those of a sample; None if the revision does not say."""
    sample = _read(side, paths.EVALUATION).get("sample") or {}
    every: int | None = _read(side, paths.DATASET).get("split", {}).get("test")
    return sample.get("rows", every)


def _paired(before: Revision, now: Revision) -> "tuple[Paired | None, str | None]":
    """The test rows that both versions have, with the predictions of both on them; None with the reason in a note."""
    try:
        return revisions.paired_predictions(before, now), None
    except StoreError as error:
        return None, f"no interval and no verdict: {error}"


def _metrics(before: Revision, now: Revision, headline: str, paired: "Paired | None") -> dict[str, Any]:
    """Every metric of both versions, the headline first, and the groups that got worse.

    If the test rows are not the same, or their labels, the values of both versions are those on the shared rows as they
    are now; those that the reports have, each on its own rows, are `before_reported` and `now_reported`.
    """
    from mlops.evaluation import changes, comparison, results
    from mlops.training.metrics import HIGHER_IS_BETTER, title

    settings = params.load(params.Evaluate)
    differences, groups = {}, []
    if paired:
        pairs, sides = paired
        bootstrap = comparison.paired_bootstrap(*sides, settings.resamples, settings.confidence, settings.seed)
        differences = {difference.metric: difference.as_dict() for difference in bootstrap}
        if now.schema().sensitive:
            table = results.groups_of(now.predictions()[0]).iloc[pairs.other]
            groups = changes.of_groups(*sides, table, headline, settings.resamples, settings.confidence, settings.seed)
    earlier, current, without = _read(before, paths.METRICS), now.json(paths.METRICS), _read(now, paths.BASELINE)
    counts = _tested(before), _tested(now)
    shared = len(paired[0].one) if paired else None
    others = shared is not None and (counts != (shared, shared) or _relabelled(differences, earlier))
    rows = []
    for name in dict.fromkeys([headline, *current, *earlier]):
        test = differences.get(name, {})  # it also has a metric of the project that is newer than the base
        reported = {"before_reported": earlier.get(name), "now_reported": current.get(name)}
        values: dict[str, Any] = {"before": test.get("one"), "now": test.get("other")}
        if not others:
            values = {"before": earlier.get(name, values["before"]), "now": current.get(name, values["now"])}
        difference = None if None in values.values() else values["now"] - values["before"]
        outcome = {"difference": difference, "low": None, "high": None, "verdict": None}
        outcome |= {key: value for key, value in test.items() if key in outcome}
        rows.append(
            {"metric": name, "title": title(name), **values, **outcome, **reported, "baseline": without.get(name)}
        )
    sign = 1 if HIGHER_IS_BETTER[headline] else -1
    rose = rows[0]["verdict"] == "better"
    fell = [
        group for group in groups if group["verdict"] == "worse" or (rose and sign * (group["difference"] or 0) < 0)
    ]
    return {
        "rows": rows,
        "confidence": settings.confidence,
        "test_rows_before": counts[0],
        "test_rows": counts[1],
        "shared_rows": shared,
        "on_shared_rows": others,
        "groups": fell,
    }


def _relabelled(differences: dict[str, dict[str, Any]], reported: dict[str, Any]) -> bool:
    """Whether a metric of the earlier version is another one by the labels of now, on the same rows."""
    both = [(found["one"], reported[name]) for name, found in differences.items() if reported.get(name) is not None]
    return any(one is not None and not math.isclose(one, then, rel_tol=ROUNDING) for one, then in both)


def _threshold(before: Revision, now: Revision, paired: "Paired | None") -> dict[str, Any]:
    """The thresholds of both versions, None where there is none; and, if it is chosen by costs, the cost a test row.

    The costs are those of now for both versions, on the test rows that both have, if these are known. Without their
    predictions there is no cost.
    """
    from mlops.training import decision

    earlier, current = (_read(side, paths.TRAINING).get("decision") or {} for side in (before, now))
    by = current.get("costs")
    found: dict[str, Any] = {"before": earlier.get("threshold"), "now": current.get("threshold"), "costs": by}
    for at, (name, side) in enumerate((("cost_before", before), ("cost", now))):
        if by is None:
            continue
        try:
            predictions = paired[1][at] if paired else side.predictions()[1]
        except StoreError:
            continue
        if predictions.positive is not None:
            found[name] = decision.value(predictions, params.Costs(**by))
    return {"cost_before": None, "cost": None, **found}


def _data(before: Revision, now: Revision) -> dict[str, Any]:
    """The changes of the prepared data: its digest, its rows and columns, and the drift of the training split."""
    digest_before, digest = _read(before, paths.DATASET).get("digest"), now.json(paths.DATASET)["digest"]
    rows, drift, note = None, [], None
    if digest_before != digest:
        schema = now.schema()
        try:
            rows = _rows(before, now, before.schema(), schema).as_dict()
            drift = _drift(before, now)
        except (SchemaError, StoreError) as error:
            note = f"rows could not be compared: {error}"
    return {
        "digest_before": digest_before,
        "digest": digest,
        "changed": digest_before != digest,
        "rows": rows,
        "columns": _changes(before, now, _columns),
        "drift": drift,
        "note": note,
    }


def _delivery(before: Revision, now: Revision) -> dict[str, Any]:
    """What `monitor` says of the newest delivery, before and now."""
    earlier, found = (_read(side, paths.DRIFT) for side in (before, now))
    digests = [(report.get("delivery") or {}).get("digest") for report in (earlier, found)]
    return {
        "digest_before": digests[0],
        "digest": digests[1],
        "verdict_before": earlier.get("verdict"),
        "verdict": found.get("verdict"),
        "changed": digests[0] != digests[1] or earlier.get("verdict") != found.get("verdict"),
    }


def _columns(side: Revision) -> dict[str, str]:
    """What schema.yaml says of each column, its role and type first, and, if it does, of missing values in general."""
    schema = _read(side, paths.SCHEMA)
    said = {"missing in all columns": ", ".join(map(repr, schema["missing"]))} if "missing" in schema else {}
    for name, column in schema.get("columns", {}).items():
        first = [column.get("role", "feature"), str(column.get("type"))]
        said[name] = ", ".join(first + [f"{key} {column[key]}" for key in sorted(column.keys() - {"role", "type"})])
    return said


def _rows(before: Revision, now: Revision, schema_before: "Schema", schema: "Schema") -> "Rows":
    """The rows that were added, removed and changed, by the columns that both versions have."""
    from mlops.evaluation import changes

    kept_before = set(schema_before.kept)
    columns = [name for name in schema.kept if name in kept_before]
    ids = [name for name in schema.with_role("id") if name in columns]
    hashes = [_hashes(side, columns, ids) for side in (before, now)]
    if ids:
        return changes.of_rows_with_ids(*hashes)
    return changes.of_rows(*(table["row"].to_numpy() for table in hashes))


def _hashes(side: Revision, columns: list[str], ids: list[str]) -> "pd.DataFrame":
    """A hash of each row of both splits, by `columns` (`row`) and by `ids` (`id`), computed batch by batch."""
    import pandas as pd

    from mlops.data import digest

    subsets = {"row": columns, "id": ids} if ids else {"row": columns}
    return pd.concat(
        [
            pd.DataFrame({name: digest.row_hashes(batch[subset]) for name, subset in subsets.items()})
            for split in (paths.TRAIN, paths.TEST)
            for batch in tables.Stored(side.kept(split)).batches()
        ],
        ignore_index=True,
    )


def _drift(before: Revision, now: Revision) -> list[dict[str, Any]]:
    """The columns of the training split whose distribution changed, the largest effect first."""
    from mlops.monitoring import drift

    settings = params.load(params.Monitor)
    earlier, current = before.profile(), now.profile()
    names = [name for name in current if name in earlier and earlier[name].kind == current[name].kind]
    drifted = [column for column in drift.compare(earlier, current, names, settings) if column.drifted]
    return [
        {"column": column.column, "effect": column.effect, "mean_before": column.baseline_mean, "mean": column.new_mean}
        for column in sorted(drifted, key=lambda column: -column.effect)
    ]


def _curves(side: Revision, left_out: list[str]) -> "dict[str, pd.DataFrame]":
    from mlops.evaluation.curves import COLUMNS

    files = {name: paths.PLOTS / f"{name}.csv" for name in COLUMNS}
    return {
        name: side.csv(path, LABELS.get(name, ())) for name, path in files.items() if path.as_posix() not in left_out
    }
