"""Times with a zone in Parquet are read in UTC, and that is told."""

from pathlib import Path

import pandas as pd
from mlops.intake import deliveries, zones


def test_a_zone_that_reading_changes_is_named(tmp_path: Path) -> None:
    berlin = pd.to_datetime(["2024-07-01 00:30", None]).tz_localize("Europe/Berlin")
    utc, plain = berlin.tz_convert("UTC"), berlin.tz_localize(None)
    table = pd.DataFrame({"at": berlin, "utc": utc, "plain": plain, "x": [1, 2]})
    table.to_parquet(tmp_path / "a.parquet", index=False)
    (tmp_path / "b.csv").write_text("at,x\n2024-07-01,1\n", encoding="utf-8")

    found = zones.of(sorted(tmp_path.iterdir()))

    assert found == {"at": "Europe/Berlin"}
    assert "zone Europe/Berlin, read in UTC" in zones.sentence(found["at"])
    [batch] = deliveries.batches(tmp_path / "a.parquet")
    assert str(batch["at"][0]) == "2024-06-30 22:30:00"
