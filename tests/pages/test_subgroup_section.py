from ssast.pages.subgroup_section import gap_sentences, said_groups, subgroup_section

VALUE = {"value": 0.8, "interval": [0.7, 0.9]}
SCORES = dict.fromkeys(("auc", "sensitivity", "calibration_slope", "calibration_intercept"), VALUE)
COUNTS = {"n": 80, "events": 40, "people": 20, "people_with": 10, "people_without": 10}


def metrics(is_told=True, groups=("a", "b")):
    gap = {"group": "b", "measure": "auc", "value": -0.2, "interval": [-0.3, -0.1], "is_told": is_told}
    entries = dict.fromkeys(groups, COUNTS | SCORES) | {"<c>": COUNTS}
    own = {"reference": "a", "groups": entries, "gaps": [gap]}
    column = {"note": "age is cut at 3", "without": 2, "labels": {"ill": own}}
    return {"unit": "speaker", "groups": {"looked_at": 4, "few_people": 10, "columns": {"age": column}}}


def test_a_gap_beyond_luck_is_a_sentence_with_its_interval_and_small_groups_are_called_so():
    first, second, third = gap_sentences(metrics())
    assert first == "ill, age: AUC of b differs from that of a by -0.20 (-0.30 to -0.10)."
    assert second.startswith("4 gaps to the largest group were looked at.")
    assert "Too small to say" in third
    assert "age <c> (for ill)" in third
    assert gap_sentences(metrics(is_told=False))[0].startswith("No gap is told from luck")


def test_where_no_two_groups_are_large_enough_no_gap_is_said_to_have_been_looked_at():
    found = metrics(is_told=False)
    found["groups"] |= {"looked_at": 0}
    first, *rest = gap_sentences(found)
    assert first == "No gap can be looked at: that takes two groups of a column that are large enough."
    assert not any("Bonferroni" in one for one in rest)
    found["groups"] |= {"looked_at": 1}
    assert any(one.startswith("1 gap to the largest group was looked at.") for one in gap_sentences(found))


def test_the_section_shows_every_group_how_numbers_were_cut_and_who_has_no_group():
    text = subgroup_section(metrics())
    for words in ("age is cut at 3; 2 clips have no group.", "too small", "&lt;c&gt;", "b - a", "1 gap with corrected"):
        assert words in text
    assert subgroup_section({}) == ""
    many = subgroup_section(metrics(groups=[f"g{n}" for n in range(20)] + ["a", "b"]))
    assert "<summary>23 groups of labels</summary>" in many


def test_the_screen_says_how_groups_were_made_and_which_gaps_there_are():
    """Who asked for groups saw nothing of them before the page was opened."""
    first, second, *_ = said_groups(metrics())
    assert first == "Groups of age: age is cut at 3; 2 clips have no group."
    assert second.startswith("ill, age: AUC of b differs")
    assert said_groups({}) == []
