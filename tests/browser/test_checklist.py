"""checklist.html in a real browser, offline: it fits the screen, is read in order, and prints with every answer."""

from itertools import pairwise

import pytest

import ssast
from ssast.options.record import RECORD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HEADINGS = "[...document.querySelectorAll('h1, h2, h3')].map(each => Number(each.tagName[1]))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    home = tmp_path_factory.mktemp("checklist")
    (home / "run").mkdir()
    (home / "run" / "run.yaml").write_text(f"mode: finetune\nepochs: 3\n{RECORD}: {{clips: {{train: 9, test: 4}}}}\n")
    study = home / "study.yaml"
    study.write_text(f"intended_use: {'a long sentence that a person wrote ' * 20}\nethics: {'x' * 300}\n")
    ssast.report(runs=str(home / "run"), checklist="both", study_file=str(study), exp_dir=str(home / "sheet"))
    return home / "sheet" / "checklist.html"


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_page_fits_the_screen_and_its_headings_follow_each_other(page, opened, size):
    with opened(page, size) as it:
        assert it.value("document.documentElement.scrollWidth <= innerWidth")
        levels = it.value(HEADINGS)
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert it.value("document.querySelectorAll('.item').length") == 52 + 16 + 18


def test_no_item_is_cut_or_hidden_in_print(page, opened):
    with opened(page) as it:
        it.page.emulate_media(media="print")
        assert it.value("[...document.querySelectorAll('.item')].every(each => each.offsetHeight > 20)")
        whole = "[...document.querySelectorAll('.item p')].every(each => each.scrollWidth <= each.clientWidth + 1)"
        assert it.value(whole)
