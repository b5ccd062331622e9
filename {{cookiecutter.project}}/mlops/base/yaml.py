"""YAML files that people write, read into typed and frozen models; every mistake in them is named at once."""

import math
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlops.base import files
from mlops.base.errors import ProjectError, StoreError, nearest

Model = TypeVar("Model", bound=BaseModel)

# With every alias (`*name`) written out; a few lines of aliases of aliases can stand for millions of values.
MOST_VALUES = 100_000
LONGEST = 100  # characters of a value in a sentence


def read(path: Path) -> Any:
    """Parse a YAML 1.2 file (as DVC does: `No` is a string, not false).

    Raises:
        StoreError: the file is missing, unreadable or no YAML.
    """
    return parsed(text_of(path), str(path))


def text_of(path: Path) -> str:
    """The text of a file that people write.

    Raises:
        StoreError: the file is missing or unreadable.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} could not be read: {error}") from None


def parsed(text: str, where: str) -> Any:
    """Parse YAML 1.2; `where` names its place for a person.

    Raises:
        StoreError: it is no YAML, or its aliases stand for too many values.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        # Counted before anything is built of them.
        if "*" in text and _written_out(YAML(typ="safe", pure=True).compose(text), {}) > MOST_VALUES:
            raise StoreError(f"{where} has aliases (*name) that stand for too many values: write the values themselves")
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        name = re.search(r'duplicate key "(.*?)" with', str(error.problem))
        line = f" (again in line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise StoreError(f"{where} has {name[1] if name else 'a name'} twice{line}: keep one of them") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise StoreError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from None


def _written_out(node: Any, known: dict[int, float]) -> float:
    """The number of values in a YAML node with every alias written out; infinite if an alias holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is counted: whoever meets it before holds itself
        parts = node.value if isinstance(getattr(node, "value", ""), list) else []  # of a mapping: pairs
        flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_written_out(part, known) for part in flat)
    return known[id(node)]


def dumped(content: Any) -> str:
    """Plain content as YAML."""
    from io import StringIO

    from ruamel.yaml import YAML

    text = StringIO()
    writer = YAML()
    writer.width = 4096  # no value is broken into lines
    writer.dump(content, text)
    return text.getvalue()


def update(path: Path, section: str, values: dict[str, Any]) -> None:
    """Set one top-level section of a file that people write, and leave all else in it, comments included, as it is.

    Raises:
        StoreError: the file cannot be read or written.
    """
    from io import StringIO

    from ruamel.yaml import YAML

    text, writer = StringIO(), YAML()  # as DVC writes params.yaml
    content = writer.load(text_of(path)) or {}
    if isinstance(content.get(section), dict):
        content[section].update(values)  # comments belong to the mapping
    else:
        content[section] = values
    writer.dump(content, text)
    files.write_text(path, text.getvalue())


def end_of(path: Path, key: str) -> tuple[int, int]:
    """The end of the mapping below a top-level `key`: the number of lines up to its last entry, and its indent."""
    from ruamel.yaml import YAML

    nodes = YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8"))
    [block] = [value for name, value in nodes.value if name.value == key]
    last = block.value[-1][1].end_mark
    return last.line + (last.column > 0), block.value[0][0].start_mark.column


def validate(model: type[Model], content: Any, where: str, error: type[ProjectError]) -> Model:
    """Read plain `content` as `model`; `where` names its place for a person, such as `params.yaml: train`.

    Raises:
        ProjectError: of class `error`, naming every value that is wrong, what was found, and for a misspelt name the
            nearest valid one.
    """
    try:
        return model.model_validate(content)
    except ValidationError as found:
        known = list(model.model_fields)
        raise error("; ".join(_sentence(issue, where, known) for issue in found.errors())) from None


def _sentence(issue: Any, where: str, known: list[str]) -> str:
    path = ".".join(str(part) for part in issue["loc"])
    place = f"{where}.{path}" if path else where
    if issue["type"] == "extra_forbidden":
        name = str(issue["loc"][-1])
        return f"{place} is unknown: " + (nearest(name, known) if len(issue["loc"]) == 1 else "remove or correct it")
    if issue["type"] == "missing":
        return f"{place} is missing"
    found = f" is {issue['input']!r}"
    found = found if len(found) <= LONGEST else ""  # a whole section
    return f"{place}{found}: {issue['msg'].removeprefix('Value error, ')}"
