"""Values as JSON in bytes, by orjson: it takes a tenth of the time of Python's own encoder."""

import json
import math
from collections.abc import Callable
from typing import Any

import orjson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME  # a time is left to `default`, as by Python's encoder


def to_json(content: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """The JSON of plain values in UTF-8; a number that is not finite is null, and half a surrogate pair is "?".

    `default` gives a plain value for any other.

    Raises:
        TypeError: a value is not plain, and there is no `default`.
    """
    try:
        return orjson.dumps(content, default, _OPTIONS)
    except TypeError:  # an integer of more than 64 bits, half a surrogate pair, a key that is no text, deep nesting
        text = json.dumps(finite(content), ensure_ascii=False, separators=(",", ":"), default=default)
        return text.encode("utf-8", "replace")


def finite(value: Any) -> Any:
    """The same value with None for each number in it that is not finite."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
