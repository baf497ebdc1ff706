"""audit.html in a real browser, offline: it fits the screen, and its findings open and close by the keyboard."""

import pytest

import ssast

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def page(still_corpus, tmp_path_factory):
    corpus, folder = still_corpus, tmp_path_factory.mktemp("audit")
    where = {"prefix": corpus.audio, "data_split_root": corpus.splits, "label_txt": corpus.label_txt}
    ssast.audit(**{name: str(path) for name, path in where.items()}, resamples=100, exp_dir=str(folder))
    return folder / "audit.html"


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_page_fits_the_screen_and_answers_the_keyboard(page, opened, size):
    with opened(page, size) as it:
        assert it.value("document.documentElement.scrollWidth <= innerWidth")
        assert it.value("document.querySelectorAll('svg').length >= 2")
        assert it.value("document.querySelector('details').open")
        it.page.locator("details > summary").first.focus()
        it.page.keyboard.press("Enter")
        assert not it.value("document.querySelector('details').open")
