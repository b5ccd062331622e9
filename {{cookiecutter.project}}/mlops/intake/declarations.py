"""Read `behaviour.yaml`: the tests of the model's behaviour that an owner declares."""

from collections.abc import Mapping
from pathlib import Path

from mlops.base import yaml
from mlops.base.errors import ParameterError, nearest
from mlops.evaluation.declaration import KINDS, Declaration

MOST = 100  # tests, so that the stage `evaluate` stays short
LONGEST = 100  # characters of a name


def read(path: Path | None) -> dict[str, Declaration] | None:
    """The tests by name; an empty file declares none, and without a path there is None.

    Raises:
        ParameterError: a name or a value is unknown or misspelt; the sentence names all mistakes.
        StoreError: the file is missing, or no YAML.
    """
    content = yaml.read(path) if path else None
    if content is None:
        return {} if path else None
    if not isinstance(content, Mapping) or set(content) != {"tests"}:
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else f"{content!r}"[:LONGEST]
        raise ParameterError(
            f"{path} has {found or 'nothing'} at its top: expected is tests, and below it a name for each"
        )
    tests = content["tests"] or {}
    if not isinstance(tests, Mapping):
        raise ParameterError(f"{path}: tests holds no names: expected is a test a name, such as `same again: …`")
    if len(tests) > MOST:
        raise ParameterError(f"{path} declares {len(tests)} tests: {MOST} at most, so that they stay quick; merge some")
    declared: dict[str, Declaration] = {}
    mistakes = []
    for key, test in tests.items():
        name = " ".join(str(key).split())
        try:
            if name in declared or not name or len(name) > LONGEST or not name.isprintable():
                raise ParameterError(f"{path}: tests.{name[:LONGEST]!r} is no name of 1 to {LONGEST} signs, given once")
            declared[name] = _test(test, f"{path}: tests.{name}")
        except ParameterError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ParameterError("; ".join(mistakes))
    return declared


def _test(content: object, where: str) -> Declaration:
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping):
        raise ParameterError(f"{where} holds no names: expected is at least kind, one of {', '.join(KINDS)}")
    if kind is None:
        raise ParameterError(f"{where}.kind is missing: known are {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ParameterError(f"{where}.kind is {kind!r}, which is unknown: {nearest(str(kind), list(KINDS))}")
    return yaml.validate(KINDS[kind], content, where, ParameterError)
