"""What README and docs tell a reader to type is true: commands parse, those on the demo run, links and names exist.

Every command goes through the command line's own parser, every block of Python is compiled. Then, slow, the pages are
followed in a folder that holds what a reader would have: each command is run as it stands, but for those that leave
something open (`...`, FOLDER) and those that need a bucket, several processes or a network.
"""

import ast
import importlib
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

import ssast
from ssast import cli
from ssast.audio.synthetic_corpus import write_corpus
from ssast.options.options import SPECS
from ssast.options.record import from_args
from ssast.options.records import MODES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
LANGUAGES = {"bash", "sh", "python", "text", "json", "yaml"}
# Programs that the pages name beside our own; nothing of what they do is tried here.
FOREIGN = {"export", "gcloud", "head", "make", "python3", "source", "srun", "."}


@dataclass(frozen=True)
class Block:
    """A block of code on a page: its language (`indented` for one without fences) and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def is_shell(self) -> bool:
        return self.language in ("bash", "sh", "indented")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Fenced blocks, at any indent, and indented ones that follow an empty line and begin at the margin's fourth."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        fence = re.match(r"^( *)```(\w*)$", lines[at])
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            inner = "\n".join(line.removeprefix(fence[1]) for line in lines[at + 1 : end])
            yield Block(page, at + 2, fence[2], inner)
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("    ")), len(lines))
            yield Block(page, at + 1, "indented", "\n".join(line[4:] for line in lines[at:end]))
            at = end
        else:
            at += 1


BLOCKS = [block for page, text in TEXTS.items() for block in blocks_of(page, text)]
SHELL = [block for block in BLOCKS if block.is_shell]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a shell block, lines that end with a backslash taken together."""
    whole = block.text.replace("\\\n", " ")
    split = [shlex.split(line, comments=True) for line in whole.split("\n")]
    return [words for words in split if words]


def own_words(words: list[str]) -> tuple[str, list[str]] | None:
    """The program name and what follows it, where the command is ours, perhaps behind a launcher."""
    if "-m" in words and words[words.index("-m") + 1 :][:1] == ["ssast"]:
        return "ssast", words[words.index("-m") + 2 :]
    if Path(words[0]).name == "ssast":
        return "ssast", words[1:]
    if Path(words[0]).name.startswith("python") and words[1:2] == ["run.py"]:
        return "run.py", words[2:]
    return None


def check_command(prog: str, words: list[str]) -> None:
    """UserError unless these are options that there are, with values that they can have.

    Where the page leaves some out (`...`), or a file holds them (--config), what is there is checked one by one.
    """
    known = [word for word in words if word not in ("...", "-h", "--help", "--help-all", "--version")]
    mode = known.pop(0) if known and not known[0].startswith("-") else None
    assert mode is None or mode in cli.SPELLINGS, mode
    if mode == "upload":
        known.insert(0, "--exp_dir")
    texts = cli._read(known, prog, mode)
    if known == words[1:] and "config" not in texts:
        from_args({**texts, "mode": mode} if mode else texts)
    for name, text in texts.items():
        SPECS[name].check(text, f"--{name}")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_blocks_say_their_language(block):
    assert block.language in LANGUAGES | {"indented"}


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_have_modes_options_and_values_that_exist(block):
    for words in commands(block):
        if own := own_words(words):
            check_command(*own)
        elif block.language != "indented":
            program = Path(words[0]).name
            is_set = re.match(r"\w+=", words[0])
            assert is_set or program in FOREIGN or program in ("pip", "grep") or (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("page", TEXTS)
def test_options_named_in_the_text_exist(page):
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"(?ms)^ *```.*?^ *```$", "", TEXTS[page]))
    foreign = {"--help", "--help-all", "--version", "--num_processes", "--nproc_per_node", "--name"}
    ours = [
        span
        for span in spans
        if not re.match(r"(pip|torchrun|accelerate|gcloud|python benchmarks|git|\w+ upload)", span)
    ]
    named = {name for span in ours for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert named - foreign <= {f"--{name}" for name in SPECS}


@pytest.mark.parametrize("page", TEXTS)
def test_modes_named_in_the_text_exist(page):
    named = set(re.findall(r"`ssast ([a-z-]+)", TEXTS[page]))
    assert named <= set(cli.SPELLINGS)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles_and_its_names_and_options_exist(block):
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ssast":
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ssast":
            assert hasattr(ssast, node.attr), node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MODES:
            is_mode = isinstance(node.func.value, ast.Name) and node.func.value.id == "ssast"
            given = {word.arg for word in node.keywords if word.arg}
            assert not is_mode or given <= set(SPECS)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_options_in_yaml_exist(block):
    assert set(re.findall(r"--(\w+)", block.text)) <= set(SPECS)


def slug(heading: str) -> str:
    """The anchor that a heading gets, as Python-Markdown makes it."""
    bare = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
    return re.sub(r"[-\s]+", "-", bare)


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", TEXTS[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        assert place.is_file(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", place.read_text(encoding="utf-8"))
            assert anchor in map(slug, headings), target


def menu(entries: list) -> Iterator[str]:
    for entry in entries:
        for place in entry.values() if isinstance(entry, dict) else [entry]:
            yield from menu(place) if isinstance(place, list) else [place]


SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def test_every_page_is_in_the_menu():
    assert sorted(menu(SITE["nav"])) == sorted(path.name for path in PAGES[1:])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_page_and_is_in_both_tables(mode):
    named = f"`ssast {mode}"
    assert [page for page, text in TEXTS.items() if re.search(rf"(?m)^##? .*{named}\b", text)]
    for page in ("README.md", "docs/index.md"):
        rows = [line.split("|")[1] for line in TEXTS[page].split("\n") if line.startswith("| ")]
        assert [row for row in rows if f"{named}`" in row], page


def test_the_site_asks_nothing_of_a_network():
    assert SITE["theme"]["font"] is False
    assert "extra_javascript" not in SITE
    assert all((ROOT / "docs" / style).is_file() for style in SITE["extra_css"])


@pytest.mark.parametrize("name", ssast.__all__)
def test_every_public_name_is_in_the_reference(name):
    page = TEXTS["docs/reference.md"]
    assert f"::: ssast.{name}\n" in page or f"`{name}`" in page


# What the README of the first version calls its modes, options and files.
SEED = """
-m finetune, -m train, -m eval, -m eval-only, -m extraction, run.py, run.ipynb, args.pkl, train.csv, test.csv,
metadata.json, waveform.EXT, requirements.txt, labels.txt, ASTModel_pretrain, ASTModel_finetune, ClassificationHead,
AudioDataset, extract_embedding, weightsum, n_states, speech_utils.py, dataloader.py, loops.py, ast_models.py, cdo,
shift, SSAST-Base-Frame-400.pth, batch['fbank'], batch['targets'], librosa, bucket, gauss_noise, --prefix, --study,
--data_split_root, --label_txt, --lib, --pretrained_mdl_path, --finetuned_mdl_path, --bucket_name, --project_name,
--cloud, --dataset, --exp_dir, --cloud_dir, --mode, --task, --freeze, --weighted, --layer, --embedding_type,
--fstride, --tstride, --fshape, --tshape, --model_size, --batch_size, --num_workers, --learning_rate, --epochs,
--optim, --weight_decay, --loss, --scheduler, --max_lr, --mask_patch, --cluster_factor, --activation,
--final_dropout, --layernorm, --dataset_mean, --dataset_std, --resample_rate, --reduce, --clip_length, --tshift,
--speed, --gauss, --pshift, --pshiftn, --gain, --stretch, --mixup, --num_mel_bins, --target_length, --freqm, --timem,
--noise
"""


@pytest.mark.parametrize("word", [word.strip() for word in SEED.split(",")])
def test_what_the_seed_names_is_translated(word):
    left = [line.split("|")[1] for line in TEXTS["docs/seed.md"].split("\n") if line.startswith("| ")]
    assert any(re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", cell) for cell in left)


def test_the_picture_of_the_readme_leaves_room_for_both_commands_on_a_first_screen():
    """At 1280 x 800 the picture filled the screen once, and the commands stood below it."""
    beginning = TEXTS["README.md"].split("## ")[0]
    ((path, width),) = re.findall(r'<img src="([^"]+)" width="(\d+)"', beginning)
    with Image.open(ROOT / path) as picture:
        assert picture.height * int(width) / picture.width <= 300


def test_make_knows_what_readers_are_told_to_make():
    targets = set(re.findall(r"(?m)^([\w.]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    told = [words[1] for block in SHELL for words in commands(block) if words[0] == "make"]
    assert {"demo", "test"} <= set(told) <= targets


def test_the_test_itself_sees_what_is_wrong():
    """A block, an option, a value and a mode that do not exist are found."""
    (block,) = blocks_of("x", "a\n\n  ```bash\n  ssast finetune \\\n    --epochs 2 # twice\n  ```\n")
    assert commands(block) == [["ssast", "finetune", "--epochs", "2"]]
    for words in (
        ["finetune", "...", "--epoch", "2"],
        ["sweep", "...", "--epochs", "x"],
        ["finetune", "--epochs", "2"],
    ):
        with pytest.raises(ssast.errors.UserError):
            check_command("ssast", words)
    with pytest.raises(AssertionError):
        check_command("ssast", ["fly", "..."])
    check_command(*own_words(shlex.split("torchrun --nproc_per_node 4 -m ssast pretrain -i a -d b -o c")))


# From here on: what the pages tell to do is done, in a folder that holds what a reader would have.


def is_done(words: list[str]) -> bool:
    """Whether a command can be done here: it is ours, alone, and neither leaves anything open nor needs a bucket."""
    own = own_words(words)
    if own is None or not own[1] or "ssast" in words[1:]:
        return False
    open_word = any(word == "..." or re.match(r"[A-Z]{2,}(\.\w+)?$", word) for word in words)
    afar = "-b" in words or "://" in " ".join(words) or words[-1:] == ["-h"]
    return not (open_word or afar or own[1][0] in ("upload", "demo"))


def is_done_in_python(block: Block) -> bool:
    """Whether a block of Python can be run: weights by name and the hub need a network, Ray needs its processes."""
    return not re.search(r"ssast\.weights\(|push_to_hub|ray\.init", block.text)


@pytest.fixture(scope="module")
def supplies(tmp_path_factory, narrow) -> dict[str, Path]:
    """What a reader has, by the names of the pages: 12 synthetic speakers, 4 clips each, and models of one epoch."""
    home = tmp_path_factory.mktemp("docs")
    corpus = write_corpus(home / "demo" / "corpus-48x10-0", speakers=12, clips_per_speaker=4)
    data = ["-i", f"{corpus}/audio", "-d", f"{corpus}/splits", "--dataset", "demo"]
    model = ["--model_size", "tiny", "--target_length", "200", "--mask_patch", "25"]
    tuning = ["-l", f"{corpus}/labels.txt", "--target_length", "304", "--task", "ft_avgtok", "--freeze", "False"]
    assert cli.main(["pretrain", *data, *model, "-o", f"{home}/demo/pretrained"]) == 0
    start = ["--pretrained_mdl_path", f"{home}/demo/pretrained"]
    assert cli.main(["finetune", *data, *tuning, *start, "-o", f"{home}/demo/finetuned"]) == 0
    supplied = {"demo": home / "demo", "recordings": corpus / "audio", "splits": corpus / "splits"}
    supplied |= {"labels.txt": corpus / "labels.txt", "other.csv": corpus / "splits" / "test.csv"}
    supplied |= dict.fromkeys(("runs/first", "experiments"), home / "demo" / "finetuned")
    supplied |= mine(home, corpus)
    names = ("SSAST-Base-Frame-400", "SSAST-Base-Frame-400.pth")
    supplied |= dict.fromkeys(names, home / "demo" / "pretrained")
    return supplied | {"best_audio_model.pth": older_file(home / "best_audio_model.pth")}


def mine(home: Path, corpus: Path) -> dict[str, Path]:
    """A folder of audio files and a table of them, as somebody has who has not read anything yet."""
    tables = [pd.read_csv(corpus / "splits" / f"{split}.csv", dtype=str) for split in ("train", "test")]
    table = pd.concat(tables)
    (home / "mine").mkdir()
    for uid in table["uid"]:
        shutil.copy(corpus / "audio" / uid / "waveform.wav", home / "mine" / f"{uid}.wav")
    table.assign(file=table["uid"] + ".wav").drop(columns="uid").to_csv(home / "mine.csv", index=False)
    return {"mine": home / "mine", "mine.csv": home / "mine.csv"}


def older_file(path: Path) -> Path:
    """A file as the published code fine-tunes it, for the demo's five labels."""
    import torch

    sizes = {"model_size": "tiny", "fshape": 16, "tshape": 16, "fstride": 10, "tstride": 10, "target_length": 128}
    model = ssast.SSASTForAudioClassification(5, **sizes, task="ft_avgtok", head="published", seed=0)
    parts = (("weight", (model.v.width,)), ("bias", ()))
    heads = {f"v.{head}.{part}": torch.zeros(1000, *more) for head in ("head", "head_dist") for part, more in parts}
    state = {f"module.{key}": value for key, value in (model.state_dict() | heads).items()}
    names = {"head.norm": "0", "head.outproj": "1"}
    for own, theirs in names.items():
        state = {key.replace(own, theirs): value for key, value in state.items()}
    torch.save(state, path)
    return path


def supply(supplies: dict[str, Path], text: str) -> None:
    """Bring what the text names and what is not here yet, but not what it is about to make."""
    read = re.sub(r"(-o|--exp_dir|exp_dir=)\s*\S+", "", text)
    needs = {name for name in supplies if re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w.-])", read)}
    if re.search(r"\bfinetune\b|\bsweep\b", text) and "pretrained_mdl_path" not in text:
        needs.add("SSAST-Base-Frame-400.pth")  # what they start from where nothing is said
    for name in needs:
        target = Path(name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if supplies[name].is_dir() else shutil.copy
            copy(supplies[name], target)


def variables(supplies: dict[str, Path]) -> dict[str, object]:
    """What Python has on the pages before it begins: a list of files, who speaks in them, and a label."""
    table = pd.read_csv(supplies["splits"] / "train.csv", dtype={"uid": str})
    files = [str(supplies["recordings"] / uid / "waveform.wav") for uid in table["uid"]]
    return {"files": files, "speakers": list(table["speaker"]), "is_breathy": list(table["breathy"])}


def do(words: list[str]) -> None:
    """One of our commands; a check may find faults."""
    prog, rest = own_words(words)
    assert cli.main(rest, prog=prog) in ((0, 1) if rest[0] == "check" else (0,)), words


RUNNING = [block.page for block in PYTHON if is_done_in_python(block)]
RUNNING += [block.page for block in SHELL for words in commands(block) if is_done(words)]


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(set(RUNNING)))
def test_what_a_page_says_is_done(page, supplies, tmp_path, monkeypatch, capsys):
    """All of a page that can be done, in its order, in one folder."""
    monkeypatch.chdir(tmp_path)
    names = variables(supplies)
    for block in BLOCKS:
        if block.page != page:
            continue
        if block.language == "python" and is_done_in_python(block):
            supply(supplies, block.text)
            exec(compile(block.text, str(block), "exec"), names)
        for words in commands(block) if block.is_shell else []:
            if is_done(words):
                supply(supplies, shlex.join(words))
                do(words)


def test_most_of_what_the_pages_say_is_done():
    """Not done are commands that leave something open, and those for buckets, several processes, and the network."""
    ours = [words for block in SHELL for words in commands(block) if own_words(words)]
    assert sum(map(is_done, ours)) > len(ours) / 2
