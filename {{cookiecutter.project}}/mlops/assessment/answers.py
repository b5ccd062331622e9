"""The answers of a person in a file that people may edit: YAML, or JSON by its name."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mlops.assessment.rubric import Language, Rubric
from mlops.base import files, yaml
from mlops.base.errors import StoreError, nearest

FILE = Path("assessment.yaml")  # below the repository that is assessed


def meaning(rubric: Rubric, typed: str) -> Literal["yes", "no", "back", "skip"] | None:
    """What a person has typed, in any language, with any case and width of its letters; None if it is none of them."""
    word = unicodedata.normalize("NFKC", typed).strip().casefold()
    for name in ("yes", "no", "back", "skip"):
        words = getattr(rubric.inputs, name)
        if word in (*words.en, *words.ja):
            return name
    return None


def read(path: Path, rubric: Rubric) -> dict[str, bool]:
    """The answers by criterion; none if there is no file. Those of another version count as far as the ids are known.

    Raises:
        StoreError: the file is no YAML or JSON, a criterion is unknown, or an answer is neither yes nor no.
    """
    if not path.exists():
        return {}
    content = _parsed(path)
    found = content.get("answers") if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise StoreError(f"{path} has no answers: it needs a mapping `answers:`, such as `0.data.local_files: yes`")
    known, same = [each.id for each in rubric.criteria], str(content.get("rubric", rubric.version)) == rubric.version
    answers = {}
    for name, said in found.items():
        if name not in known:
            if same:
                raise StoreError(f"{path} answers {name}, which is no criterion: {nearest(str(name), known)}")
            continue
        means = {True: "yes", False: "no"}.get(said) if isinstance(said, bool) else meaning(rubric, str(said))
        if said is not None and means not in ("yes", "no"):
            raise StoreError(f"{path} says {said!r} of {name}: write yes or no, or remove the line")
        if said is not None:
            answers[name] = means == "yes"
    return answers


def _parsed(path: Path) -> Any:
    if path.suffix != ".json":
        return yaml.read(path)
    try:
        return json.loads(yaml.text_of(path))
    except ValueError as error:
        raise StoreError(f"{path} is no valid JSON: {error}") from None


def write(path: Path, answers: Mapping[str, bool], rubric: Rubric, language: Language) -> None:
    """Write the answers whole or not at all, in YAML with each criterion's statement beside its answer.

    Raises:
        StoreError: the file cannot be written.
    """
    given = [each for each in rubric.criteria if each.id in answers]
    words = {each.id: "yes" if answers[each.id] else "no" for each in given}
    if path.suffix == ".json":
        files.write_json(path, {"rubric": rubric.version, "answers": words})
        return
    lines = [f"  {each.id}: {words[each.id]}  # {each.statement.of(language)}" for each in given]
    files.write_text(path, "\n".join([f"rubric: '{rubric.version}'", "answers:", *lines]) + "\n")
