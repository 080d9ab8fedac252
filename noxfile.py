"""Sessions: `nox -s tests`, `table4`, `paper -- faseg`, `all`, `regress`, `bench`; `nox --list` has all.

Every session runs in the one environment that `env` makes, and `env` installs only when pyproject.toml has
changed: once it is made, nothing here needs the network. With `--no-venv` all of them run on the current
interpreter and nothing is installed. What stands behind `--` is passed on.
"""

import hashlib
import os
import sys
from pathlib import Path

import nox
from nox.virtualenv import PassthroughEnv

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # nox, unlike `python -m nox`, does not look for packages here

import tables  # noqa: E402

PACKAGES = ["bench", "models", "ops", "tables", "tests", "noxfile.py"]
WITH_TABLE = {
    name: [paper for paper in tables.papers() if name in tables.tables(paper)]
    for name in dict.fromkeys(name for paper in tables.papers() for name in tables.tables(paper))
}

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

# The interpreter that `env` found or made for the sessions after it.
interpreter = Path(sys.executable)


@nox.session
def env(session: nox.Session) -> None:
    """The environment of all the other sessions; installed anew only when pyproject.toml changes."""
    global interpreter
    if isinstance(session.virtualenv, PassthroughEnv):
        session.log(f"no environment of its own: running on {sys.executable}")
        return
    interpreter = _python(Path(session.virtualenv.location))
    stamp = Path(session.virtualenv.location) / "maskbench-installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        session.log("nothing to install")
        return
    stamp.unlink(missing_ok=True)  # an installation that is cut short leaves no stamp
    session.install("-e", ".[test]")
    stamp.write_text(wanted)


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """All tests, on two processes."""
    _run(session, "-m", "pytest", "-n", "2", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Times operators and models against their peers, into reports/performance.md."""
    if not isinstance(session.virtualenv, PassthroughEnv):  # the peers are for nothing else
        session.install("-e", ".[test,bench]")
    results = Path(session.create_tmp()).resolve() / "benchmarks.json"
    options = ["python_files=bench_*.py", "python_functions=bench_*", "pythonpath=tests/benchmarks"]
    given = [word for option in options for word in ("-o", option)]
    report = str(ROOT / "reports" / "performance.md")
    suite = ["tests/benchmarks", *given, f"--benchmark-json={results}", *session.posargs]
    session.run("python", "-m", "pytest", *suite)
    session.run("python", "-m", "bench.performance", str(results), report)


@nox.session(venv_backend="none", requires=["env"])
def lint(session: nox.Session) -> None:
    """Style."""
    _run(session, "-m", "ruff", "check", *(session.posargs or PACKAGES))


@nox.session(venv_backend="none", requires=["env"])
def paper(session: nox.Session) -> None:
    """Every table of one paper: `nox -s paper -- faseg`."""
    if not session.posargs:
        session.error(f"which paper? nox -s paper -- {'|'.join(tables.papers())}")
    name, *options = session.posargs
    if name not in tables.papers():
        session.error(f"unknown paper {name!r}; known: {', '.join(tables.papers())}")
    _table(session, name, "all", options)


@nox.session(name="all", venv_backend="none", requires=["env"])
def every_table(session: nox.Session) -> None:
    """Every table of every paper."""
    _table(session, "all", "all", session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def report(session: nox.Session) -> None:
    """The front page of the reports, from the reports that are there."""
    _run(session, "-m", "bench", "report", *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def audit(session: nox.Session) -> None:
    """The papers' own arithmetic, checked by rules over tables/, into reports/audit.md."""
    _run(session, "-m", "bench", "audit", *session.posargs)


@nox.session(venv_backend="none", requires=["env"])
def regress(session: nox.Session) -> None:
    """What moved since the committed baseline; fails if anything did."""
    _run(session, "-m", "bench", "regress", *session.posargs)


def _table_session(name: str, papers: list[str]) -> None:
    """Registers `table<name>`, one run for each paper that has such a table."""

    @nox.session(name=f"table{name}", venv_backend="none", requires=["env"])
    @nox.parametrize("paper", [nox.param(found, id=found) for found in papers])
    def session_of_table(session: nox.Session, paper: str) -> None:
        _table(session, paper, name, session.posargs)

    session_of_table.__doc__ = f"Table {name}: regenerated, every cell beside the printed one."


for _name, _papers in WITH_TABLE.items():
    _table_session(_name, _papers)


def _table(session: nox.Session, paper: str, table: str, options: list[str]) -> None:
    _run(session, "-m", "bench", "table", paper, table, *options)


def _run(session: nox.Session, *arguments: str) -> None:
    """Runs Python in the environment, with this repository first on the path.

    Compiled modules are kept even where the caller forbids it: uv installs none, and to compile torch and
    timm on every start takes longer than all that a second run has to do.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    variables = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
    session.run(str(interpreter), *arguments, external=True, env=variables)


def _python(environment: Path) -> Path:
    posix = environment / "bin" / "python"
    return posix if posix.exists() else environment / "Scripts" / "python.exe"
