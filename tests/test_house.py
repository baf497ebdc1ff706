"""The house holds: a room imports only from floors below it, nothing sideways, without circles, and stays small."""

import ast
import functools
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


@functools.cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every file, by its module; read where a test needs it, since every worker reads this file."""
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def imported(tree: ast.Module, module: str, is_package: bool = False) -> Iterator[str]:
    """The modules of ssast that a file imports, wherever in it: in functions and for type checkers too.

    `ssast.__version__` belongs to the package and to no floor.
    """
    for node in ast.walk(tree):
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


@functools.cache
def imports() -> dict[str, set[str]]:
    """The modules of ssast that each file imports."""
    found = trees()
    return {
        module: set(imported(found[module], module, path.name == "__init__.py")) - {module}
        for module, path in MODULES.items()
    }


def wrong(module: str, target: str) -> bool:
    """Whether this import goes up or sideways."""
    return target not in FOUNDATION and room(module) != room(target) and floor(target) >= floor(module)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_only_downward(module):
    assert not [target for target in imports()[module] if wrong(module, target)]


def test_every_folder_is_a_room_with_a_floor():
    inside = (path.relative_to(PACKAGE).parts for path in PACKAGE.rglob("*.py"))
    assert {parts[0] for parts in inside if len(parts) > 1} == set(FLOORS)


@pytest.mark.parametrize("module", sorted(FOUNDATION))
def test_errors_and_redaction_stand_below_everything(module):
    assert not imports()[module]


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
    assert circle({module: imports()[module] & members for module in members}) == []


def test_only_options_and_what_stands_above_know_the_options():
    knowing = {module for module, targets in imports().items() if "ssast.options.options" in targets}
    assert {room(module) for module in knowing} <= {"options", "runs", "modes", DOOR}


MOST_FILES, MOST_LINES = 18, 300


def test_every_mode_is_the_function_of_its_name_in_the_file_of_its_name():
    assert {path.stem for path in (PACKAGE / "modes").glob("*.py")} - {"__init__"} == set(MODES)
    for mode in MODES:
        defined = [node for node in trees()[f"ssast.modes.{mode}"].body if isinstance(node, ast.FunctionDef)]
        (own,) = [node for node in defined if any(map(is_mode, node.decorator_list))]
        assert own.name == mode
        assert [argument.arg for argument in own.args.args] == ["options"]


def is_mode(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "Mode"


def test_no_room_has_more_files_than_can_be_overlooked():
    """The modes' own room has as many as there are modes: `ssast -h` and the test above name each."""
    files = (path.parent for path in MODULES.values() if path.name != "__init__.py")
    counts = Counter(folder for folder in files if folder != PACKAGE / "modes")
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
    for module, tree in trees().items():
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
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and takes_all(node) and not any(map(is_mode, node.decorator_list))
    ]
    assert len(found) <= MOST_WHOLE, found
    below = [name for place, name in found if place not in ("modes", "options")]
    assert len(below) <= MOST_WHOLE_BELOW, below


MOST_UNTYPED = 75


def test_few_dictionaries_hold_anything():
    untyped = sum(ast.unparse(tree).count("dict[str, Any]") for tree in trees().values())
    assert untyped <= MOST_UNTYPED


@pytest.mark.parametrize("module", [module for module in MODULES if floor(module) < 3])
def test_the_lower_floors_never_print(module):
    calls = (node.func for node in ast.walk(trees()[module]) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


# Tests that are named after no module of ours, or of more than one: what each is about, and the modules without a file
# of their own that it covers.
ELSEWHERE = (
    ("test_benchmarks.py", "scripts that measure", ""),
    ("test_cli.py", "the command line", "__main__"),
    ("test_contributing.py", "the examples of CONTRIBUTING", ""),
    ("test_docs.py", "README and docs", ""),
    ("test_house.py", "the rooms", ""),
    ("test_import.py", "the public names", ""),
    ("test_notebook.py", "the tutorial", ""),
    ("test_packaging.py", "the installed package", ""),
    ("adapters/test_hear_and_s3prl.py", "two interfaces over the same steps", "adapters.hear adapters.s3prl"),
    ("adapters/test_hear_and_s3prl.py", "what both stand on", "adapters.time_steps"),
    ("adapters/test_scikit_learn.py", "what Ray's classes stand on too", "adapters.embedding"),
    ("modes/test_export.py", "whole exports, read back by the other tool", "adapters.hugging_face_ast adapters.onnx"),
    ("audio/test_augment.py", "each alteration is applied", "audio.alterations"),
    ("audio/test_decode.py", "decoding goes through all of them", "audio.conform audio.readers audio.source"),
    ("audio/test_container.py", "headers of files", "audio.sizes"),
    ("audio/test_synthetic_corpus.py", "the corpus speaks with it", "audio.speech_synthesis"),
    ("audio/test_unfolding.py", "files that unfold to hours, in every reader", ""),
    ("runs/test_sound_findings.py", "what each mode says of recordings", ""),
    ("data/layout/test_file_column.py", "one choice among them", "data.layout.filenames"),
    ("data/layout/test_file_column.py", "whose a file is", "data.layout.person_files"),
    ("data/layout/test_file_column.py", "how rows are named", "data.layout.uids"),
    ("modes/test_arrange_spectrograms.py", "from a Parquet file to embeddings", "data.spectrograms"),
    ("modes/test_arrange.py", "what is copied", "runs.output.recording_copies"),
    ("modes/test_arrange_bids.py", "what comes of them", "data.layout.bids_names data.layout.per_recording"),
    ("modes/test_arrange.py", "whom the splits hold, and what is said", "runs.arranged"),
    ("cloud/test_reading.py", "stores need an emulator", "data.storage.stores"),
    ("cloud/test_packing.py", "shards on their way to a bucket", "data.shards.shard_delivery"),
    ("modes/test_pack.py", "recordings on their way into shards", "data.shards.intake"),
    ("modes/test_unpack.py", "and back", "data.shards.unpacking"),
    ("runs/test_dead_decoders.py", "processes that die", "data.workers"),
    ("data/test_dataset.py", "the batches that it makes, and how it hears", "data.batch data.audio_conf"),
    (
        "dataset_audit/test_analysis.py",
        "one analysis, step by step",
        "dataset_audit.measures dataset_audit.single_traits",
    ),
    ("dataset_audit/test_analysis.py", "what is held against what", "dataset_audit.traits"),
    ("dataset_audit/test_sentences.py", "the words of a page", "dataset_audit.advice"),
    ("dataset_audit/test_sentences.py", "the words of a page", "dataset_audit.terms"),
    ("modes/test_audit.py", "the page of a whole audit", "dataset_audit.page dataset_audit.figures"),
    ("modes/test_audit.py", "and its audit.json", "dataset_audit.audit_results"),
    ("data/tables/test_people.py", "the people of tables", "dataset_audit.people_check"),
    ("engine/test_train.py", "the loop as a whole", "engine.averages engine.checkpoint engine.training_run"),
    ("modes/test_sweep.py", "heads side by side are heads alone", "engine.parallel_heads"),
    ("modes/test_predict.py", "model.predict against the mode", "engine.predictor"),
    ("modes/test_merge.py", "tables in parts, and of one run", "data.tables.row_groups runs.output.part_tables"),
    (
        "metrics/test_scores.py",
        "each measure of a score",
        "metrics.measures metrics.threshold_rules metrics.score_entries",
    ),
    ("model/test_pretraining.py", "losses of the model that is trained with them", ""),
    ("modes/test_inspect.py", "every kind of checkpoint", "model.checkpoints.checkpoint model.checkpoints.detect"),
    ("runs/test_untrusted.py", "files from strangers", "model.checkpoints.pickles model.checkpoints.torch_file"),
    ("runs/test_untrusted.py", "files from strangers", "model.checkpoints.torch_outline safe_reading"),
    ("model/checkpoints/test_hub.py", "sharing through the hub", "model.checkpoints.model_card"),
    ("model/explain/test_relevance.py", "maps are tested by removal", "model.explain.occlusion"),
    ("runs/test_scoring.py", "thresholds travel with a model", "runs.thresholds runs.results"),
    ("modes/test_main_modes.py", "the four from end to end", "modes.pretrain modes.finetune modes.evaluate"),
    ("modes/test_main_modes.py", "and what they share", "runs.batches runs.context runs.models"),
    ("modes/test_main_modes.py", "and what they share", "runs.output.notes"),
    ("test_docs.py", "what is typed there runs on the demo", "modes.demo"),
    ("cloud/test_uploads.py", "uploads need an emulator", "modes.upload runs.output.uploads"),
    ("options/test_options.py", "all options", "options.audio_options options.data_options options.model_options"),
    ("options/test_options.py", "all options", "options.training_options options.checks"),
    ("options/test_options.py", "from text to the record", "options.record"),
    ("test_cli.py", "each mode's record in its help", "options.records"),
    ("runs/wrapping/test_terminal_private.py", "names are hidden in real runs", "options.privacy"),
    ("pages/test_attention_page.py", "the page's parts", "pages.maps"),
    ("pages/test_report_page.py", "the page's parts", "pages.label_figures pages.tables"),
    ("pages/test_remarks.py", "sentences under scores", "pages.sentences"),
    (
        "runs/reviewing/test_external.py",
        "what is kept and shown",
        "pages.place_section runs.reviewing.categories",
    ),
    ("metrics/external/test_recalibrating.py", "each kind of label, before and after", "metrics.external.answers"),
    (
        "metrics/external/test_place.py",
        "there and here together",
        "metrics.external.development metrics.external.shift metrics.external.looks metrics.external.categories "
        "metrics.external.kept metrics.external.unsaid",
    ),
    ("modes/test_attention.py", "clips, chosen and explained", "runs.explaining.clips runs.explaining.explainer"),
    (
        "data/shards/test_shards.py",
        "recordings in shards, however they are read",
        "data.metadata data.shards.audiofolder data.shards.collection data.shards.packed_file data.shards.row_groups "
        "data.shards.row_index data.shards.shard_file data.storage.ranges",
    ),
    ("modes/test_report.py", "checklists filled from real runs", "runs.checklists.records runs.checklists.items"),
    ("modes/test_report.py", "what the runs know", "runs.checklists.audit_facts runs.checklists.model_facts"),
    ("runs/checklists/test_study_file.py", "keys of items", "runs.checklists.probast runs.checklists.tripod"),
    ("runs/test_killed.py", "SIGKILL at every stage of a run", ""),
    ("runs/output/test_lock.py", "one run at a time in a folder", ""),
    ("runs/test_killed_on_shards.py", "SIGKILL to trainings from shards, one process and several", ""),
    ("browser/test_audit.py", "audit.html in a browser", ""),
    ("browser/test_checklist.py", "the page of a checklist in a browser", ""),
    ("browser/test_pages.py", "all pages in a browser", ""),
    ("browser/test_report.py", "report.html in a browser", ""),
    ("cloud/test_heard.py", "what the store knows of recordings", ""),
    ("cloud/test_killed.py", "runs with a bucket, killed", ""),
    ("cloud/test_shards.py", "shards in a bucket", ""),
    ("cloud/test_modes.py", "whole modes on a bucket", ""),
    ("data/shards/test_made_elsewhere.py", "shards and folders that Hugging Face's programs wrote", ""),
    ("modes/test_from_shards.py", "whole modes on shards", ""),
    ("modes/test_planted_sound.py", "the whole way to a known truth", ""),
    ("modes/test_real_findings.py", "check and audit of real recordings", ""),
    ("runs/test_bad_input.py", "a user's mistake in any mode", ""),
    ("runs/test_broken_files.py", "broken files in any mode", ""),
    ("runs/test_full_disk.py", "a disk that is full in the middle", ""),
    ("runs/test_few_handles.py", "fewer open files than workers need", ""),
    ("runs/test_hostile.py", "files made to take for ever", ""),
    ("runs/test_leaks.py", "private runs let no name out", ""),
    ("runs/test_not_finite.py", "no answer is NaN or infinity", ""),
    ("runs/test_offline.py", "nothing is sent unasked", ""),
    ("runs/test_threads.py", "the number of threads", ""),
    ("runs/test_ways_to_train.py", "ways to train beside the plain one", ""),
)
TESTS = Path(__file__).resolve().parent


def own_test(module: str) -> str:
    """Where the test of a module lies if it has one for itself."""
    *rooms, name = module.split(".")[1:]
    return "/".join([*rooms, f"test_{name}.py"])


def covering() -> dict[str, str]:
    """The test file of each module, its own or the one of the table."""
    own = {module: own_test(module) for module, path in MODULES.items() if path.name != "__init__.py"}
    covered = {f"ssast.{name}": test for test, _, names in ELSEWHERE for name in names.split()}
    return {module: path if (TESTS / path).exists() else covered.get(module, "") for module, path in own.items()}


def test_every_module_has_its_test_file_or_is_named_in_the_one_that_covers_it():
    found = covering()
    assert [module for module, path in found.items() if not path] == []
    assert {path for path in found.values() if not (TESTS / path).exists()} == set()
    named = [f"ssast.{name}" for _, _, names in ELSEWHERE for name in names.split()]
    assert [name for name in named if name not in MODULES or found[name] == own_test(name)] == [], "no longer needed"
    assert len(named) == len(set(named))


def test_every_test_file_is_named_after_what_it_tests():
    """After a module, perhaps with a word more (`test_arrange_tables.py`), or it stands in the table with a reason."""
    own = {own_test(module).removesuffix(".py") for module in covering()}
    listed = {test for test, _, _ in ELSEWHERE}
    files = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    assert listed <= files
    assert [file for file in files - listed if not any(re.match(rf"{name}(_\w+)?\.py", file) for name in own)] == []


def test_the_watch_sees_what_it_should():
    """The test itself: imports inside functions, relative ones, ways up and sideways, and circles are found."""
    source = (
        "def f():\n    from ssast.modes.demo import demo\n    from . import decode\n    from ..model import encoder"
    )
    assert set(imported(ast.parse(source), "ssast.audio.augment")) >= {"ssast.modes.demo", "ssast.model.encoder"}
    assert wrong("ssast.audio.decode", "ssast.model.encoder")
    assert wrong("ssast.engine.train", "ssast.pages.html")
    assert wrong("ssast.data.dataset", "ssast.modes.demo")
    assert wrong("ssast.modes.demo", "ssast.cli")
    assert not wrong("ssast.modes.demo", "ssast.options.options")
    assert not wrong("ssast.audio.decode", "ssast.errors")
    assert list(imported(ast.parse("from ssast import __version__"), "ssast.modes.demo")) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
