"""The house holds: a room imports only from floors below it, nothing sideways, and no room has a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SOURCE / "ssast"
FLOORS = {"audio": 1, "model": 1, "data": 2, "engine": 3, "report": 3, "modes": 4}
DOOR = "door"
DOOR_FILES = {"ssast", "ssast.cli", "ssast.__main__"}
FOUNDATION = {"ssast.safe_reading", "ssast.errors", "ssast.processors", "ssast.redaction"}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    if module in DOOR_FILES:
        return DOOR
    return module.split(".")[1]


def floor(module: str) -> int:
    if module in FOUNDATION:
        return 0
    return {**FLOORS, DOOR: 5}[room(module)]


def imported(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """The modules of ssast that a file imports, wherever in it: in functions and for type checkers too.

    `ssast.__version__` belongs to the package and to no floor.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "ssast")
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, is_package)
            if base.split(".")[0] == "ssast":
                names = [alias.name for alias in node.names if (base, alias.name) != ("ssast", "__version__")]
                yield from (f"{base}.{name}" if f"{base}.{name}" in MODULES else base for name in names)


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    return ".".join(filter(None, [*parts[: len(parts) - node.level + 1], node.module]))


IMPORTS = {
    module: set(imported(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")) - {module}
    for module, path in MODULES.items()
}


def wrong(module: str, target: str) -> bool:
    """Whether this import goes up or sideways."""
    return target not in FOUNDATION and room(module) != room(target) and floor(target) >= floor(module)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_only_downward(module):
    assert not [target for target in IMPORTS[module] if wrong(module, target)]


def test_every_folder_is_a_room_with_a_floor():
    inside = (path.relative_to(PACKAGE).parts for path in PACKAGE.rglob("*.py"))
    assert {parts[0] for parts in inside if len(parts) > 1} == set(FLOORS)


@pytest.mark.parametrize("module", sorted(FOUNDATION))
def test_errors_and_the_veil_stand_below_everything(module):
    assert not IMPORTS[module]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle in the graph as the path around it; empty where there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


@pytest.mark.parametrize("name", [*FLOORS, DOOR])
def test_no_room_has_a_circle(name):
    members = {module for module in MODULES if room(module) == name}
    assert circle({module: IMPORTS[module] & members for module in members}) == []


def test_only_the_modes_and_the_door_know_the_options():
    knowing = {module for module, targets in IMPORTS.items() if "ssast.options.options" in targets}
    assert {room(module) for module in knowing} <= {"modes", DOOR}


@pytest.mark.parametrize("module", [module for module in MODULES if floor(module) < 3])
def test_the_lower_floors_never_print(module):
    calls = (node.func for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_the_watch_sees_what_it_should():
    """The test itself: imports inside functions, relative ones, ways up and sideways, and circles are found."""
    source = "def f():\n    from ssast.modes.run import demo\n    from . import decode\n    from ..model import encoder"
    assert set(imported(source, "ssast.audio.augment")) >= {"ssast.modes.run", "ssast.model.encoder"}
    assert wrong("ssast.audio.decode", "ssast.model.encoder")
    assert wrong("ssast.engine.train", "ssast.metrics.scores")
    assert wrong("ssast.data.dataset", "ssast.modes.run")
    assert wrong("ssast.modes.run", "ssast.cli")
    assert not wrong("ssast.modes.run", "ssast.options.options")
    assert not wrong("ssast.audio.decode", "ssast.errors")
    assert list(imported("from ssast import __version__", "ssast.modes.run")) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
