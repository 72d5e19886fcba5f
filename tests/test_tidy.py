"""Rules of the house that no linter knows.  A broken one names file and line."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "torua"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *ROOT.glob("tests/**/*.py")])
ROOMS = {
    "core": "DECIDES.",
    "storage": "KEEPS.",
    "net": "CARRIES.",
    "node": "RUNS.",
    "http": "SERVES.",
}
FUNCTION_LINES_MAX = 50
MODULE_LINES_MAX = 500
UNCHANGING = {
    "Enum",
    "Error",
    "Exception",
    "NamedTuple",
    "Options",
    "Protocol",
    "frozen",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module


def complaints(path: Path) -> Iterator[str]:
    """Yield what is untidy in one source file, each as ``line: complaint``.

    It reads the file as syntax only; nothing of it is run.
    """
    text = path.read_text()
    if text.count("\n") > MODULE_LINES_MAX:
        yield f"1: module of over {MODULE_LINES_MAX} lines; is it two rooms?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Documented) and not ast.get_docstring(node):
            yield f"{getattr(node, 'lineno', 1)}: no docstring"
        elif isinstance(node, Function):
            yield from function_complaints(node)
        elif isinstance(node, ast.ClassDef) and path.is_relative_to(PACKAGE):
            yield from class_complaints(node)
        elif isinstance(node, ast.ImportFrom) and takes_global_reactor(node, path):
            yield f"{node.lineno}: take the reactor as an argument"


def function_complaints(node: Function) -> Iterator[str]:
    """Yield where a function is too long, or where its docstring says too little.

    One that is long, or that takes two arguments, says more than a summary: how it
    works, or what its arguments mean.  A camelCase name is Twisted's, and so is its
    contract.
    """
    length = (node.end_lineno or 0) - (node.body[0].end_lineno or 0)
    if length > FUNCTION_LINES_MAX:
        yield f"{node.lineno}: function of over {FUNCTION_LINES_MAX} lines"
    if node.name.startswith(("_", "test_")) or node.name != node.name.lower():
        return
    arguments = {argument.arg for argument in node.args.args} - {"self", "cls"}
    if (length > 12 or len(arguments) > 1) and "\n" not in docstring_of(node):
        yield f"{node.lineno}: {node.name}() says what it does, but not how, or of what"


def class_complaints(node: ast.ClassDef) -> Iterator[str]:
    """Yield where a class whose instances change does not say what never does."""
    parts = [*node.bases, *node.decorator_list, *node.keywords]
    heading = {ast.unparse(each) for each in parts}
    changes = not any(word in each for word in UNCHANGING for each in heading)
    if changes and "Invariants:" not in docstring_of(node):
        yield f"{node.lineno}: class {node.name} does not state its invariants"


def takes_global_reactor(node: ast.ImportFrom, path: Path) -> bool:
    """Tell whether an import takes the reactor from where everybody could.

    ``service/node.py`` may, for twist leaves it no other way.
    """
    names = {alias.name for alias in node.names}
    taken = node.module == "twisted.internet" and "reactor" in names
    return taken and path != PACKAGE / "service" / "node.py"


def docstring_of(node: Function | ast.ClassDef) -> str:
    """Return the docstring of what is known to have one."""
    return ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_is_tidy(path: Path) -> None:
    """Each source file keeps every rule above."""
    assert list(complaints(path)) == []


@pytest.mark.parametrize("room", ROOMS)
def test_room_says_what_its_code_does(room: str) -> None:
    """Each package opens with the verb that all of its code does, and its threading."""
    card = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert card is not None
    assert card.startswith(ROOMS[room])
    assert "Threading:" in card
