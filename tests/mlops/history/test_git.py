"""What Git says where it fails."""

import pytest
from mlops.base.errors import StoreError
from mlops.history import git


def test_what_git_lists_is_told_with_its_first_entry(handmade):
    handmade.write(".gitignore", "*.log\n")
    handmade.write("own.log", "")

    with pytest.raises(StoreError, match=r"^git add failed: The following paths are ignored .*: own\.log$"):
        git.run("add", "--", "own.log")
