"""The rules of the house, checked on the source itself."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("ops", "models", "tables", "bench")
FILES = sorted(
    path
    for folder in (*FLOORS, "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
) + [ROOT / "noxfile.py"]

# What the modules of a floor may import of this repository.
MAY_IMPORT = {
    "ops": {"ops"},
    "models": {"ops", "models"},
    "tables": {"tables"},
    "bench": {"ops", "models", "tables", "bench"},
    "noxfile.py": {"tables"},
}
OURS = {"ops", "models", "tables", "bench", "reports", "tests", "noxfile"}
MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.])/(work|farm|home|root|tmp)/")


def long_functions(tree: ast.AST, limit: int = 60) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno + 1 > limit
        ):
            yield f"{node.name}, line {node.lineno}, has {node.end_lineno - node.lineno + 1} lines"


def bare_excepts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"bare except in line {node.lineno}"


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The top-level packages a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name.partition(".")[0], node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0], node.lineno


def wrong_imports(tree: ast.AST, floor: str) -> Iterator[str]:
    allowed = MAY_IMPORT[floor]
    for name, line in imported(tree):
        if name in OURS and name not in allowed:
            yield f"{floor} imports {name} in line {line}"
        if floor == "tables" and name not in sys.stdlib_module_names | allowed:
            yield f"tables imports {name} in line {line}, which is not in the standard library"


def prints(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"print in line {node.lineno}"


def talks(path: Path) -> bool:
    """Whether this file is part of the command line, which may print."""
    return path.parent == ROOT / "bench" / "commands" or path == ROOT / "bench" / "cli.py"


def violations(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    tree, floor = ast.parse(text), path.relative_to(ROOT).parts[0]
    found = [*long_functions(tree), *bare_excepts(tree)]
    if len(text.splitlines()) > 400:
        found.append(f"{len(text.splitlines())} lines")
    if floor in MAY_IMPORT:
        found += wrong_imports(tree, floor)
    if floor in FLOORS and not talks(path):
        found += prints(tree)
    if floor != "tests":
        lines = enumerate(text.splitlines(), start=1)
        found += [f"machine path in line {number}" for number, line in lines if MACHINE_PATH.search(line)]
    return found


def test_the_house_is_there():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == {*FLOORS, "tests", "noxfile.py"}
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_keeps_the_rules(path):
    assert violations(path) == []


def test_the_checks_can_fail():
    source = "import torch\nimport bench.cells\ndef f():\n" + "    x = 1\n" * 61
    source += "    try:\n        print(1)\n    except:\n        pass\n"
    tree = ast.parse(source)
    assert [text.partition(",")[0] for text in long_functions(tree)] == ["f"]
    assert list(bare_excepts(tree)) == ["bare except in line 67"]
    assert list(prints(tree)) == ["print in line 66"]
    assert list(wrong_imports(tree, "models")) == ["models imports bench in line 2"]
    assert len(list(wrong_imports(tree, "tables"))) == 3
    assert not list(wrong_imports(tree, "bench"))
    assert MACHINE_PATH.search("open('/home/" + "someone/x')")
