"""`simulate`: what is refused before a year is lived."""

from pathlib import Path

import pytest
from mlops.__main__ import app
from mlops.base.errors import ParameterError
from typer.testing import CliRunner


def test_a_folder_for_the_page_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is a folder: name a file"):
        CliRunner().invoke(app, ["simulate", "--html", str(tmp_path)], catch_exceptions=False)
