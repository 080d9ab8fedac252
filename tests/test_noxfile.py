"""The sessions: one environment, installed once, and a session for every table of the record."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tables

ROOT = Path(__file__).resolve().parent.parent
nox = pytest.importorskip("nox")


def run_nox(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nox", "-f", str(folder / "noxfile.py"), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_every_table_has_a_session():
    done = run_nox("--list")
    assert done.returncode == 0, done.stderr
    sessions = set(re.findall(r"^[*-] (\S+)", done.stdout, flags=re.MULTILINE))
    assert {"env", "tests", "lint", "paper", "all", "report"} <= sessions
    expected = {f"table{name}({paper})" for paper in tables.papers() for name in tables.tables(paper)}
    assert "table4(faseg)" in expected
    assert expected == {name for name in sessions if name.startswith("table")}


@pytest.fixture
def clone(tmp_path):
    """What a session needs of the repository, in another place."""
    for name in ("bench", "tables", "noxfile.py", "pyproject.toml"):
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tmp_path


def test_without_an_environment_the_current_interpreter_runs(clone):
    done = run_nox("--no-venv", "-s", "report", "--", "--out", "elsewhere", folder=clone)
    assert done.returncode == 0, done.stderr
    assert "# Reports" in (clone / "elsewhere" / "README.md").read_text()
    assert f"running on {sys.executable}" in done.stderr
    assert "pip install" not in done.stderr
    assert not (clone / ".nox" / "env").exists()


def test_a_failing_test_fails_the_session(clone):
    session = ("--no-venv", "-s", "tests", "--", "-n", "0")
    (clone / "tests").mkdir()
    (clone / "tests" / "test_one.py").write_text("def test_one():\n    assert 1 == 2\n")
    assert run_nox(*session, folder=clone).returncode == 1
    (clone / "tests" / "test_one.py").write_text("def test_one():\n    assert 1 == 1\n")
    assert run_nox(*session, folder=clone).returncode == 0


def test_a_wrong_paper_fails_the_session(clone):
    done = run_nox("--no-venv", "-s", "paper", "--", "fasge", folder=clone)
    assert done.returncode == 1
    assert "unknown paper 'fasge'; known: faseg, mask2former" in done.stderr


class Environment:
    """Stands in for the virtual environment of a session."""

    def __init__(self, location: Path) -> None:
        self.location = str(location)


class Session:
    """Stands in for a session of `env`; notes what it installs."""

    def __init__(self, location: Path, fails: bool = False) -> None:
        self.virtualenv, self.installed, self.fails = Environment(location), [], fails

    def log(self, text: str) -> None:
        pass

    def install(self, *arguments: str) -> None:
        self.installed.append(arguments)
        if self.fails:
            raise RuntimeError("no network")


@pytest.fixture(scope="module")
def loaded():
    """The noxfile as a module."""
    sys.path.insert(0, str(ROOT))
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT))
    return module


@pytest.fixture
def noxfile(loaded, clone, monkeypatch):
    """The noxfile of the clone, and the folder of its environment."""
    monkeypatch.setattr(loaded, "ROOT", clone)
    monkeypatch.setattr(loaded, "interpreter", Path(sys.executable))
    location = clone / ".nox" / "env"
    (location / "bin").mkdir(parents=True)
    (location / "bin" / "python").touch()
    return loaded, location


def install(noxfile, **options) -> list:
    module, location = noxfile
    session = Session(location, **options)
    try:
        module.env.func(session)
    except RuntimeError:
        pass
    return session.installed


def test_the_environment_is_installed_once(noxfile):
    assert install(noxfile) == [("-e", ".[test]")]
    assert install(noxfile) == []
    assert noxfile[0].interpreter == noxfile[1] / "bin" / "python"


def test_it_is_installed_anew_when_the_requirements_change(noxfile, clone):
    install(noxfile)
    with open(clone / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    assert install(noxfile) == [("-e", ".[test]")]
    assert install(noxfile) == []


def test_an_installation_that_failed_is_tried_again(noxfile):
    assert len(install(noxfile, fails=True)) == 1
    assert install(noxfile) == [("-e", ".[test]")]
