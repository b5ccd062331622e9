"""The zones of times in Parquet files: like all times, they are read in UTC."""

from collections.abc import Iterable
from pathlib import Path

from mlops.intake import deliveries


def of(paths: Iterable[Path]) -> dict[str, str]:
    """The zone of each column of times whose clock is changed by reading it in UTC, as the first such file names it.

    Raises:
        DataError: a file cannot be read.
    """
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    for path in filter(deliveries.is_parquet, paths):
        for name, kind in zip(deliveries.columns(path), pq.read_schema(path).types, strict=True):
            zone = getattr(kind, "tz", None)
            if zone and zone.upper() not in ("UTC", "GMT", "+00:00", "ETC/UTC"):
                found.setdefault(name, zone)
    return found


def sentence(zone: str) -> str:
    """What is told of a column in this zone."""
    return f"times of the zone {zone}, read in UTC: their hours, and days, are other ones"
