"""YAML and JSON of somebody else's: read as plain values with their lines, whatever is in it, without running anything.

`mlops.base.yaml` reads the files of this project. This one takes what it refuses, such as GitLab's `!reference`, is ten
times as fast, and knows the line of every text.
"""

import json
import re
from typing import Any

MOST_VALUES = 100_000  # with every alias written out
DEEPEST = 100
# YAML 1.2's core schema, as DVC reads it: `on`, `off`, `yes` and `no` are text.
CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
WHOLE = re.compile(r"[-+]?[0-9]{1,300}")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


class Text(str):
    """A text of a YAML file, and its line there, counted from 1; of a block (`|`) the line of its first line."""

    __slots__ = ("line",)
    line: int


class UnreadableError(Exception):
    """A document is no YAML or JSON, or stands for too much."""


def from_yaml(text: str) -> Any:
    """The first document of a YAML file; None for an empty one.

    Raises:
        UnreadableError: it is no YAML, nests too deep, or its aliases stand for too many values.
    """
    return next(iter(all_from_yaml(text)), None)


def all_from_yaml(text: str) -> list[Any]:
    """Every document of a YAML file, tags left out.

    Values are built of the parser's events, so that neither depth nor aliases can use up stack or memory.

    Raises:
        UnreadableError: as `from_yaml`.
    """
    import yaml

    try:
        return _built(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), yaml)
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(f"no valid YAML: {' '.join(str(error).split())[:200]}") from None


def from_json(text: str) -> Any:
    """The content of a JSON file.

    Raises:
        UnreadableError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no valid JSON: {error}") from None


def _built(events: Any, yaml: Any) -> list[Any]:
    documents: list[Any] = []
    stack: list[tuple[Any, str | None, int]] = []  # what is being built: container, anchor, values before it
    keys: list[Any] = []  # of each container on the stack: the key that waits for its value
    anchors: dict[str, tuple[Any, int]] = {}
    values = 0
    for event in events:
        values += 1
        if isinstance(event, yaml.DocumentStartEvent):
            anchors = {}
            continue
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(stack) >= DEEPEST:
                raise UnreadableError(f"it nests deeper than {DEEPEST} levels")
            stack.append(({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor, values))
            keys.append(_NOTHING)
            continue
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            value, anchor, before = stack.pop()
            keys.pop()
            if anchor:
                anchors[anchor] = (value, values - before)
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise UnreadableError(f"the alias *{event.anchor} stands for nothing that is whole")
            value, size = anchors[event.anchor]
            values += size
        else:
            continue
        if values > MOST_VALUES:
            raise UnreadableError(f"it stands for more than {MOST_VALUES} values")
        if not stack:
            documents.append(value)
        else:
            _put(stack[-1][0], keys, value)
    return documents


_NOTHING = object()


def _put(container: Any, keys: list[Any], value: Any) -> None:
    if isinstance(container, list):
        container.append(value)
    elif keys[-1] is _NOTHING:
        keys[-1] = value if isinstance(value, str | int | float | bool | None) else str(type(value))
    else:
        key, keys[-1] = keys[-1], _NOTHING
        if key == "<<":
            for merged in value if isinstance(value, list) else [value]:
                if isinstance(merged, dict):
                    container.update({name: one for name, one in merged.items() if name not in container})
        else:
            container[key] = value


def _scalar(event: Any) -> Any:
    text = event.value
    if not event.style and event.implicit[0]:  # plain, without a tag
        if text in CONSTANTS:
            return CONSTANTS[text]
        if WHOLE.fullmatch(text):
            return int(text)
        if NUMBER.fullmatch(text):
            return float(text)
    found = Text(text)
    found.line = event.start_mark.line + 1 + (event.style in ("|", ">"))
    return found
