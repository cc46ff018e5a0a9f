"""What a release needs: one version, one address, links that work on an index, pinned actions, equal builds."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zh_lstm_lm

ROOT = Path(__file__).parents[1]
TOP = ("pyproject.toml", "README.md", "README.zh-CN.md", "CHANGELOG.md", "CITATION.cff", "LICENSE")
WORKFLOWS = ROOT / ".github" / "workflows"


def read(name: str) -> str:
    if not (ROOT / name).is_file():
        pytest.skip(f"{name} is not beside the tests")
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_that_of_the_changelog_and_of_the_citation() -> None:
    version, date = re.findall(r"^## \[(\d.*)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert version == zh_lstm_lm.__version__, (
        "CHANGELOG.md and _version.py differ: a release has a dated section of its own"
    )
    citation = dict(re.findall(r"^(version|date-released): (.*)$", read("CITATION.cff"), re.MULTILINE))
    assert citation == {"version": version, "date-released": date}, "CITATION.cff is of another release"


def test_the_address_of_the_repository_is_the_same_everywhere() -> None:
    addresses = {owner for name in TOP for owner in re.findall(r"github\.com/([\w.-]+)/zh-lstm-lm", read(name))}
    assert len(addresses) == 1, f"replace the owner in all files together, as CONTRIBUTING.md says: {addresses}"


def test_the_links_of_the_readme_lead_somewhere() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", read(name)):
            assert (ROOT / target).exists(), f"{name}: the link to {target} is dead"


def test_lowest_versions_are_those_that_are_tested() -> None:
    lowest = dict(re.findall(r"^([\w-]+)==([\d.]+)", read("constraints-lowest.txt"), re.MULTILINE))
    project = read("pyproject.toml")
    for name, version in lowest.items():
        bounds = re.findall(rf'"{name}(?:\[\w+\])?>=([\d.]+)', project)
        for bound in bounds:
            assert (version + ".0.0").startswith(bound + "."), (
                f"{name}>={bound} in pyproject.toml is tested with {version}"
            )


def test_the_type_checker_s_hook_sees_the_tested_versions() -> None:
    tested = set(re.findall(r"^[\w-]+==[\d.]+", read("constraints.txt"), re.MULTILINE))
    hooked = re.findall(r"^ +- ([\w-]+)(?:\[\w+\])?==([\d.]+)$", read(".pre-commit-config.yaml"), re.MULTILINE)
    assert len(hooked) > 3
    other = [f"{name}=={version}" for name, version in hooked if f"{name}=={version}" not in tested]
    assert not other, f".pre-commit-config.yaml has {other}; take the versions of constraints.txt"


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned_to_commits(path: Path) -> None:
    for action in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), f"{path.name}: pin {action} to a commit"


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_workflows_are_well_formed(path: Path) -> None:
    """What can be told without actionlint and zizmor, which are among the hooks."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with the extra hub)")
    try:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        pytest.fail(f"{path.name} is no YAML; mend it and run `pre-commit run actionlint`: {error}")
    assert workflow["permissions"] == {}, f"{path.name}: grant permissions to single jobs"
    for name, job in workflow["jobs"].items():
        assert {"name", "permissions", "runs-on", "steps"} <= job.keys(), f"{path.name}: the job {name} lacks something"
        needed = [job.get("needs", [])] if isinstance(job.get("needs", []), str) else job.get("needs", [])
        assert set(needed) <= workflow["jobs"].keys(), f"{path.name}: {name} needs a job that is not there"
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), (
                f"{path.name}: a step of {name} is neither `run` nor `uses`: {step}"
            )


def build(root: Path, folder: Path) -> dict[str, bytes]:
    """Builds both distributions."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_builds_are_equal_and_have_no_relative_link(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    pytest.importorskip("hatch_fancy_pypi_readme", reason="hatch-fancy-pypi-readme is not installed")
    read("pyproject.toml")
    if not (ROOT / "src").is_dir():
        pytest.skip("the sources are not beside the tests")
    for copy in ("one", "other"):
        for name in (*TOP, ".gitignore"):
            (tmp_path / copy).mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / copy / name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", tmp_path / copy / "src", ignore=ignored, copy_function=shutil.copyfile)
    one, other = (build(tmp_path / name, tmp_path / f"{name}-dist") for name in ("one", "other"))
    sums = [{name: hashlib.sha256(data).hexdigest() for name, data in files.items()} for files in (one, other)]
    assert len(one) == 2
    assert sums[0] == sums[1]
    (wheel,) = (tmp_path / "one-dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        links = re.findall(r"\]\(([^)]+)\)", archive.read(metadata).decode("utf-8"))
    assert len(links) > 5
    assert all(link.startswith(("https://", "#")) for link in links)
