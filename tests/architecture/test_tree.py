"""The tree keeps its shape: know one service, know all."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = [path for path in sorted((ROOT / "services").iterdir()) if path.name != "inference" and path.is_dir()]
PROVIDERS = [path for path in sorted((ROOT / "services" / "inference").iterdir()) if path.is_dir()]
PACKAGES = [*sorted((ROOT / "libs").iterdir()), *SERVICES, *PROVIDERS]


def package_of(folder: Path) -> Path:
    (package,) = (folder / "src").glob("prelabel_*")
    return package


@pytest.mark.parametrize("folder", [f for f in SERVICES if f.name != "all_in_one"], ids=lambda f: f.name)
def test_every_service_has_the_same_files(folder: Path) -> None:
    files = {path.name for path in package_of(folder).glob("*.py")}
    handlers = set() if folder.name == "gateway" else {"handlers.py"}  # it handles no event
    assert {"__init__.py", "__main__.py", "api.py", "service.py", "settings.py"} | handlers <= files


@pytest.mark.parametrize("folder", PROVIDERS, ids=lambda f: f.name)
def test_a_provider_is_one_folder_named_as_its_entry_point_with_a_conformance_test(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    groups = project["entry-points"]
    assert len({"prelabel.providers", "prelabel.remote_providers"} & set(groups)) == 1
    assert set(groups) <= {"prelabel.providers", "prelabel.remote_providers", "prelabel.trainers"}
    for group, points in groups.items():
        assert list(points) == [folder.name]
        assert folder.name in {point.name for point in entry_points(group=group)}
    assert ("prelabel.trainers" in groups) == (package_of(folder) / "trainer.py").exists()
    assert {"provider.py", "settings.py", "__main__.py"} <= {p.name for p in package_of(folder).glob("*.py")}
    assert (folder / "tests" / "test_conformance.py").exists()


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda f: f.name)
def test_every_package_is_typed_and_described(folder: Path) -> None:
    package = package_of(folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert (package / "py.typed").exists()
    assert project["name"].replace("-", "_") == package.name
    assert project["description"]
    for described in package.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(described.read_text())), described


def sources() -> Iterator[Path]:
    for folder in PACKAGES:
        yield from package_of(folder).rglob("*.py")


def test_nothing_is_pickled_and_nothing_is_evaluated() -> None:
    forbidden = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not forbidden & {name.name.split(".")[0] for name in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path


def test_ids_and_topic_names_are_built_in_one_file_only() -> None:
    names = ROOT / "libs/contract/src/prelabel_contract/names.py"
    topic = re.compile(
        r"""["']prelabel\.(submitted|tasks|requests|predictions|replies|annotations|runs|configs|projects|learning"""
        r"""|access|retry|deadletters)\b"""
    )
    for path in sources():
        if path != names and "examples" not in path.name:
            assert not topic.search(path.read_text()), path
            assert "uuid5" not in path.read_text(), path


def test_decision_records_name_what_keeps_them() -> None:
    for record in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        text = record.read_text()
        assert re.match(r"# \d{4}: ", text), record
        assert "**Decision.**" in text, record
        _, _, keepers = text.partition("**Kept by**")
        assert keepers, record
        for keeper in re.findall(r"`([\w*/]+/[\w*/]+\.py)`", keepers):
            assert list(ROOT.glob(keeper)), f"{record.name} names {keeper}"


def test_no_lock_file_records_a_download_address() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert not re.search(r"https?://", lock.read_text()), lock
    assert not list(ROOT.glob("uv.lock"))


def test_the_readme_names_every_folder_and_every_make_target() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in ("run", "demo", "servers", "test", "check", "bench", "bench-learning"):
        assert f"`make {target}" in readme
    for folder in ("libs/contract", "libs/runtime", "libs/provider", "services/inference", "deploy", "docs", "tests"):
        assert folder in readme


def test_the_way_without_make_installs_what_make_run_installs() -> None:
    words = re.findall(r"^    +\$\((dirname .*) \| sed 's", (ROOT / "README.md").read_text(), re.MULTILINE)
    (patterns,) = (line.split()[1:] for line in words)
    without = {path.parent.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}
    makefile = (ROOT / "Makefile").read_text()
    lists = {name: re.findall(rf"^{name} := (.*)$", makefile, re.MULTILINE)[0] for name in _PACKAGES}
    assert without == {folder for folders in lists.values() for folder in folders.split()}


_PACKAGES = ("LIBS", "CLIENT", "SERVICES", "PROVIDERS")
"""What PACKAGES is made of in the Makefile."""
