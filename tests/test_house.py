"""The house holds: a room imports only from floors below it, nothing sideways, without circles, and stays small."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssast.options.records import MODES

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SOURCE / "ssast"
FLOORS = {
    "audio": 1,
    "model": 1,
    "data": 2,
    "metrics": 3,
    "engine": 4,
    "options": 4,
    "pages": 4,
    "runs": 5,
    "dataset_audit": 5,
    "adapters": 5,
    "modes": 6,
}
DOOR = "door"
DOOR_FILES = {"ssast", "ssast.cli", "ssast.help", "ssast.__main__"}
FOUNDATION = {"ssast.errors", "ssast.processors", "ssast.redaction", "ssast.safe_reading"}


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
    return {**FLOORS, DOOR: 7}[room(module)]


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
def test_errors_and_redaction_stand_below_everything(module):
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


def test_only_options_and_what_stands_above_know_the_options():
    knowing = {module for module, targets in IMPORTS.items() if "ssast.options.options" in targets}
    assert {room(module) for module in knowing} <= {"options", "runs", "modes", DOOR}


def trees() -> dict[str, ast.Module]:
    """The syntax tree of every file, by its module."""
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


TREES = trees()
MOST_FILES, MOST_LINES = 18, 300


def test_every_mode_is_the_function_of_its_name_in_the_file_of_its_name():
    assert {path.stem for path in (PACKAGE / "modes").glob("*.py")} - {"__init__"} == set(MODES)
    for mode in MODES:
        defined = [node for node in TREES[f"ssast.modes.{mode}"].body if isinstance(node, ast.FunctionDef)]
        (own,) = [node for node in defined if any(map(is_mode, node.decorator_list))]
        assert own.name == mode
        assert [argument.arg for argument in own.args.args] == ["options"]


def is_mode(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "Mode"


def test_no_room_has_more_files_than_can_be_overlooked():
    counts = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_file_is_longer_than_can_be_overlooked():
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > MOST_LINES} == {}


def public_names(tree: ast.Module) -> Iterator[str]:
    """The names that a file defines for others."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
        else:
            continue
        yield from (name for name in dict.fromkeys(names) if not name.startswith("_"))


EXCEPTED = {"SSASTForAudioClassification"}
"""Public names that two files define, five at most: the model that hears sound is the model that knows none."""


def test_no_public_name_is_defined_in_two_files():
    homes = defaultdict(list)
    for module, tree in TREES.items():
        for name in public_names(tree):
            homes[name].append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1 and name not in EXCEPTED} == {}
    assert len(EXCEPTED) <= 5


WHOLE = re.compile(r"(Options|RunContext)( \| None)?")
"""The types that hold all options of a run, or all that it carries."""
MOST_WHOLE, MOST_WHOLE_BELOW = 45, 12


def takes_all(function: ast.FunctionDef) -> bool:
    """Whether a function takes the options, or the carried work, whole; checks of options name no type."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(
        argument.annotation
        and (WHOLE.fullmatch(kind := ast.unparse(argument.annotation)) or (argument.arg, kind) == ("options", "Any"))
        for argument in arguments
    )


def test_few_functions_take_all_options():
    """What a function takes is what it uses: below the modes that is never all of them."""
    found = [
        (room(module), node.name)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and takes_all(node) and not any(map(is_mode, node.decorator_list))
    ]
    assert len(found) <= MOST_WHOLE, found
    below = [name for place, name in found if place not in ("modes", "options")]
    assert len(below) <= MOST_WHOLE_BELOW, below


MOST_UNTYPED = 75


def test_few_dictionaries_hold_anything():
    untyped = sum(ast.unparse(tree).count("dict[str, Any]") for tree in TREES.values())
    assert untyped <= MOST_UNTYPED


@pytest.mark.parametrize("module", [module for module in MODULES if floor(module) < 3])
def test_the_lower_floors_never_print(module):
    calls = (node.func for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_the_watch_sees_what_it_should():
    """The test itself: imports inside functions, relative ones, ways up and sideways, and circles are found."""
    source = (
        "def f():\n    from ssast.modes.demo import demo\n    from . import decode\n    from ..model import encoder"
    )
    assert set(imported(source, "ssast.audio.augment")) >= {"ssast.modes.demo", "ssast.model.encoder"}
    assert wrong("ssast.audio.decode", "ssast.model.encoder")
    assert wrong("ssast.engine.train", "ssast.pages.html")
    assert wrong("ssast.data.dataset", "ssast.modes.demo")
    assert wrong("ssast.modes.demo", "ssast.cli")
    assert not wrong("ssast.modes.demo", "ssast.options.options")
    assert not wrong("ssast.audio.decode", "ssast.errors")
    assert list(imported("from ssast import __version__", "ssast.modes.demo")) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
