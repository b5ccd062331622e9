"""What Prometheus asks for. Each worker keeps its numbers in files of its own, so that any of them can tell the sum."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's name
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # seconds
NEWEST = "mlops_events_newest_timestamp_seconds"
MOST_CLASSES = 50  # a model with more of them is not counted by class: each would be a series of its own


class Newest:
    """The Unix time of the newest event by table: no number of a worker, since each reads the same store."""

    def __init__(self) -> None:
        self.seconds: Mapping[str, float] = {}

    def collect(self) -> Iterator[Any]:
        """The metric, if anything is known."""
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(NEWEST, "Time of the newest event in the online store.", labels=["table"])
        for table, seconds in self.seconds.items():
            family.add_metric([table], seconds)
        if self.seconds:
            yield family


class Metrics:
    """The metrics of a worker, and the page of all workers.

    The environment variable PROMETHEUS_MULTIPROC_DIR has to name a folder before the first one is made.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

        mine = CollectorRegistry()

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Any:
            return Counter(f"mlops_{name}", text, list(labels), registry=mine)

        self._requests = counter("requests_total", "Requests by path and status.", ["path", "status"])
        self._errors = counter("errors_total", "Answers that failed, by variant.", ["variant"])
        self._predictions = counter(
            "predictions_total", "Predictions by class, version and variant.", ["prediction", "version", "variant"]
        )
        self._seconds = Histogram(
            "mlops_request_seconds", "Time to an answer, by path.", ["path"], buckets=BUCKETS, registry=mine
        )
        self.log_drops = counter("log_drops_total", "Predictions that were not logged: the disk is full, say.")
        self.shadow_drops = counter("shadow_drops_total", "Shadow rows that were left out: the challenger is behind.")
        self.access_drops = counter("access_log_drops_total", "Lines of the access log that nobody would have read.")
        self.newest = Newest()
        self.queue = Gauge("mlops_queue_rows", "Rows that wait.", registry=mine, multiprocess_mode="livesum")
        # To look a series up by its labels takes longer than to count.
        self.requests = lru_cache(1024)(self._requests.labels)
        self.errors = lru_cache(16)(self._errors.labels)
        self.predictions = lru_cache(1024)(self._predictions.labels)
        self.seconds = lru_cache(64)(self._seconds.labels)
        self._multiprocess = multiprocess

    def page(self) -> bytes:
        """The sums over all workers in Prometheus's text format; of workers that have ended all but their queues."""
        import psutil
        from prometheus_client import CollectorRegistry, generate_latest

        for path in Path(os.environ[FOLDER]).glob("gauge_live*.db"):
            if not psutil.pid_exists(pid := int(path.stem.rpartition("_")[2])):
                self._multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        everything = CollectorRegistry()
        everything.register(self.newest)
        self._multiprocess.MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)
