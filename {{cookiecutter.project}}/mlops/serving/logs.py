"""The server's log: one JSON object a line, on standard error; requests have their own lines on standard output."""

import json
import logging
from typing import Any

from mlops.serving.prediction_log import timestamp

CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "mlops.serving.logs.Lines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "mlops": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}


class Lines(logging.Formatter):
    """A record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        found = {"time": timestamp(record.created), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)
