"""The page about remotes, word by word: a move from a folder to S3, a teammate there, and a cache that two share."""

import grp
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy, found_in, storage_of
from tests.projects import DVC, commit, keep_rows, succeeds
from tests.services import BUCKET, S3


def blocks(project: BakedProject) -> list[str]:
    """What the page lets people type: a teammate, a move, the folder of a shared cache, a clone that uses it."""
    return re.findall(r"^```bash\n(.*?)^```$", project.read("docs/remotes.md"), re.MULTILINE | re.DOTALL)


def typed(project: BakedProject, text: str, **stand_ins: str) -> str:
    """What a block of the page prints that someone types, up to the first command that fails."""
    for there, here in stand_ins.items():
        assert there in text
        text = text.replace(there, here)
    git = {f"GIT_{one}_{part}": "ada@localhost" for one in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    return succeeds(project.with_env(**git), "bash", "-eo", "pipefail", "-c", text)


def clone(project: BakedProject, name: str) -> BakedProject:
    """A clone of a project in another folder, so that nothing relative leads back."""
    succeeds(project, "git", "clone", "--quiet", ".", f"../../{name}/churn")
    return BakedProject(project.path.parents[1] / name / "churn", "", project.env)


def data(project: BakedProject) -> dict[str, bytes]:
    """The content of the files that DVC keeps."""
    folders = ("data/raw", "data/incoming", "data/prepared", "models")
    files = [path for folder in folders for path in (project.path / folder).iterdir() if path.name != ".gitignore"]
    return {path.relative_to(project.path).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def project(stub: BakedProject, tmp_path: Path) -> BakedProject:
    """The stub with two versions of its data. Only the folder beside it has the older one."""
    copy = bake_copy(stub, tmp_path / "ada")
    succeeds(copy, *DVC, "push", "--quiet")
    shutil.rmtree(copy.path / ".dvc" / "cache")
    keep_rows(copy, "raw", 10)
    succeeds(copy, *DVC, "add", "--quiet", "data/raw")
    commit(copy, "Fewer rows")
    return copy


@pytest.mark.xdist_group("servers")  # one worker starts them
def test_a_project_moves_from_its_folder_to_s3_and_a_teammate_pulls_also_what_is_older(
    project: BakedProject, s3: S3
) -> None:
    teammate, move, *_ = blocks(project)
    before, address = data(project), f"s3://{BUCKET}/moved"
    keys = {name: value for name, value in s3.environment.items() if "ENDPOINT" not in name}
    lines = move.replace("s3://churn/dvc", address).splitlines()
    lines = [
        line if address not in line else f"{line} && {line.replace(' url ', ' endpointurl ').replace(address, s3.url)}"
        for line in lines
    ]

    told = typed(project.with_env(**keys), "\n".join(lines))
    storage_of(project.path).rename(project.path / "gone")
    bob = clone(project, "bob").with_env(**keys)
    typed(bob, teammate)

    assert f"storage ({address}) can be read and written" in " ".join(told.split())
    assert data(bob) == before
    assert ((bob.path / ".dvc" / "config.local").stat().st_mode & 0o777) == 0o600
    assert not [name for secret in (s3.key, s3.key_id) for name in found_in(secret, bob)]
    succeeds(bob, "git", "checkout", "--quiet", "HEAD~2")
    succeeds(bob, *DVC, "remote", "modify", "--local", "storage", "url", address)
    succeeds(bob, *DVC, "remote", "modify", "--local", "storage", "endpointurl", s3.url)
    succeeds(bob, *DVC, "pull", "--quiet")
    assert data(bob).keys() == before.keys()
    assert len(data(bob)["data/raw/telco-churn.csv"]) > len(before["data/raw/telco-churn.csv"])


@pytest.mark.skipif(os.name == "nt", reason="groups and links of Unix")
def test_what_one_has_pulled_into_the_shared_cache_is_there_for_the_next(project: BakedProject, tmp_path: Path) -> None:
    cache = tmp_path / "srv"
    *_, folder, each = blocks(project)
    succeeds(project, *DVC, "push", "--quiet")
    typed(project, folder, **{"/srv/dvc-cache": str(cache), " ml ": f" {grp.getgrgid(os.getgid()).gr_name} "})
    typed(project, each, **{"/srv/dvc-cache": str(cache)})
    storage_of(project.path).rename(tmp_path / "out of reach")
    before, bob = data(project), clone(project, "bob")

    typed(bob, each, **{"/srv/dvc-cache": str(cache)})

    assert data(bob) == before
    [raw] = [path for path in (bob.path / "data" / "raw").iterdir() if path.suffix == ".csv"]
    assert raw.is_symlink() or raw.stat().st_nlink > 1
    assert not raw.stat().st_mode & 0o222
    assert {folder.stat().st_mode & 0o777 for folder in cache.glob("files/md5/*")} == {0o775}
    assert "srv" not in bob.read(".dvc/config")
    succeeds(bob, *DVC, "unprotect", "data/raw")
    assert raw.stat().st_mode & 0o200
