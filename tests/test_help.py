"""The completion script is given to the shell itself, which completes modes, options and values with it."""

import shutil
import subprocess

import pytest

from ssast import cli
from ssast.options.records import MODES

bash = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "ssast.bash"
    from ssast.help import completion

    path.write_text(completion("bash"))
    return path


def completed(script, *words):
    """What bash offers for the last of these words."""
    quoted = " ".join(f"'{word}'" for word in ("ssast", *words))
    lines = [
        f"source {script}",
        f'COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; COMP_LINE="${{COMP_WORDS[*]}}"',
        "$(complete -p ssast | sed 's/.*-F \\([^ ]*\\).*/\\1/') ssast",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    # The function must run in this shell, so its name is looked up first.
    lines[2] = "name=" + lines[2].removesuffix(" ssast") + '; "$name" ssast'
    done = subprocess.run([bash, "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, cwd=script.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(bash is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["fin"], {"finetune"}),
        (["e"], {"evaluate", "extract", "export", "eval", "eval-only", "extraction", "embed"}),
        (["finetune", "--learn"], {"--learning_rate"}),
        (["finetune", "--seed"], {"--seed", "--seeds"}),
        (["finetune", "--optim", ""], {"adam", "adamw", "muon"}),
        (["finetune", "--freeze", "F"], {"False"}),
        (["attention", "--mask_pat"], set()),
        (["inspect", "ssast.ba"], {"ssast.bash"}),
        (["finetune", "--label_txt", "ssast.ba"], {"ssast.bash"}),
    ],
)
def test_bash_completes_modes_options_values_and_files(script, words, offered):
    assert set(completed(script, *words)) == offered


def test_every_mode_and_its_options_are_in_the_script_for_zsh_too(capsys):
    assert cli.main(["--print-completion", "zsh"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#compdef ssast")
    for mode in MODES:
        assert f"{mode}" in text
    assert all(f"--{name}" in text for mode in MODES.values() for name in mode.options)


@pytest.mark.parametrize("words", [["fish"], []])
def test_another_shell_is_one_sentence(capsys, words):
    assert cli.main(["--print-completion", *words]) == 2
    assert "give bash or zsh" in capsys.readouterr().err
