import pytest

from ssast.pages.checklist_sheet import (
    Answered,
    Entry,
    Section,
    Sheet,
    Statement,
    plain_markdown,
    sheet_markdown,
    sheet_page,
)

HOSTILE = "<script>x</script> | `a`\n# b [c](javascript:d) ![e](f) *g* www.evil.com http://evil.com"


@pytest.mark.parametrize("sign", ["|", "`", "*", "_", "[", "]", "#", "~", "\\"])
def test_no_sign_of_markdown_takes_effect(sign):
    assert plain_markdown(f"a{sign}b") == f"a\\{sign}b"


def test_a_cell_is_one_line_without_tags_and_links():
    text = plain_markdown(HOSTILE)
    assert "\n" not in text
    assert "<" not in text
    assert "](" not in text.replace("\\]", "")
    assert "http\\://" in text
    assert "www\\.evil" in text


def test_hostile_texts_are_harmless_on_both_sheets():
    entry = Entry("1", "Title", "Asks.", Answered.STUDY, [Statement(HOSTILE, HOSTILE)])
    sheet = Sheet("T", "Source.", "Remark.", [Section("One", [entry])])
    page = sheet_page("Sheet", ["A note."], [sheet])
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    text = sheet_markdown("Sheet", ["A note."], [sheet])
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 ")]
    assert row.replace("\\|", "").count("|") == 6
    assert "T: 1 items, 0 answered from the records, 1 answered by study.yaml, 0 open." in text
