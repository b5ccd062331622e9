"""Turn raw deliveries into typed training and test splits, and keep what later deliveries are compared with.

No more than a batch of rows or a column is in memory at a time.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    raw: Annotated[Path, typer.Argument(help="Folder of labelled deliveries (CSV, TSV, Parquet).")],
    events: Annotated[Path, typer.Argument(help="Folder of events that columns are made of; it may be empty.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    train: Annotated[Path, typer.Option(help="Training split (Parquet).")],
    test: Annotated[Path, typer.Option(help="Test split (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Profile of the training split (Parquet).")],
    report: Annotated[Path, typer.Option(help="Facts about the data: rows, what was dropped, digest, balance (JSON).")],
) -> None:
    """Read, type, derive, clean and split the raw data."""
    from mlops.base import cluster, files, params
    from mlops.data import preparation, profile
    from mlops.intake import collecting, event_files, tables, zones
    from project import features

    settings, history = params.load(params.Prepare), params.load(params.Features)
    layout, source = event_files.with_history(tables.read_schema(schema), history, events)
    aside = train.with_name(".delivered.parquet")
    with (
        cluster.used(params.load(params.Compute)),
        collecting.collected(
            raw, layout, layout.delivered, features.derive, aside, settings.ragged, source
        ) as delivered,
    ):
        rows = preparation.split(delivered.table, delivered.rejected, layout, settings)
        tables.write_batches(train, delivered.table.batches(rows.train))
        tables.write_batches(test, delivered.table.batches(rows.test))
        digest = delivered.table.digest(rows.train | rows.test)
    tables.write(reference, profile.to_frame(profile.profile(tables.Stored(train), layout)))
    columns = {"columns": len(layout.kept), "ignored": layout.with_role("ignore")}
    zoned = zones.of(raw / name for name in delivered.files)
    of_events = {"events": source.facts} if source.facts else {}
    facts = {"digest": digest, **columns, **delivered.facts, **of_events, "zones": zoned, **rows.facts}
    files.write_json(report, facts)
    told = [f"{name}: {zones.sentence(zone)}" for name, zone in zoned.items()]
    typer.echo("\n".join([rows.sentence(layout.target), *told, *delivered.findings.sentences(), *source.sentences()]))


if __name__ == "__main__":
    console.run(main)
