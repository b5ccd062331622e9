"""The reference says what the code says, and the site is whole."""

import importlib.util
from types import ModuleType

import pytest

from tests.conftest import TEMPLATE


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that writes the reference."""
    spec = importlib.util.spec_from_file_location("reference", TEMPLATE / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_gives(reference: ModuleType) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in reference.PAGES.iterdir()}

    assert written == reference.pages(), "run `python docs/reference.py`"
