from ssast.pages.rater_section import rater_section, rater_sentences

FOUND = {
    "n": 90,
    "most": 3,
    "measure": "qwk",
    "alpha": {"value": 0.45, "interval": [0.3, 0.6]},
    "icc_2_1": {"value": None, "interval": None},
    "rater_with_mean": {"value": 0.7, "interval": None},
    "rater_with_rater": {"value": 0.5, "interval": [0.4, 0.6]},
    "model_with_rater": {"value": 0.42, "interval": [0.3, 0.5]},
    "difference": {"value": -0.08, "interval": [-0.2, 0.04]},
    "each": {"rater 1": {"model": 0.4, "others": 0.5}},
}


def test_the_screen_says_how_far_raters_agree_and_the_model_with_them():
    metrics = {"labels": {"rough": {"raters": FOUND}, "age": {}}}
    assert rater_sentences(metrics) == [
        "rough: its raters agree with each other at alpha 0.450 (0.30 to 0.60); kappa with quadratic "
        "weights: a rater with the others' mean 0.700, a rater with another 0.500 (0.40 to 0.60), the model with a "
        "rater 0.420 (0.30 to 0.50)"
    ]


def test_the_page_has_a_table_a_label_and_one_with_each_rater_and_nothing_without_raters():
    text = rater_section({"labels": {"<rough>": {"raters": FOUND}}})
    for said in ("The raters", "&lt;rough&gt;", "the model minus a rater", "-0.200 to 0.040", "rater 1", "90 clips"):
        assert said in text, said
    assert rater_section({"labels": {"age": {}}}) == ""
    many = {name: own for name, own in FOUND.items() if "rater" not in name and name not in ("difference", "each")}
    assert rater_sentences({"labels": {"rough": {"raters": many}}})[0].endswith("at alpha 0.450 (0.30 to 0.60)")
    assert "with each" not in rater_section({"labels": {"rough": {"raters": many}}})


def test_raters_who_never_differ_are_said_to_be_so_in_place_of_dashes():
    nothing = {"value": None, "interval": None}
    same = FOUND | {name: nothing for name, own in FOUND.items() if isinstance(own, dict) and "value" in own}
    found = {"labels": {"rough": {"raters": same}}}
    assert rater_sentences(found) == [
        "rough: all ratings of clips that several people rated are the same, so nothing says how far they agree "
        "beyond luck"
    ]
    assert '<p class="soft">All ratings of clips that several people rated are the same' in rater_section(found)


def test_one_clip_that_two_people_rated_is_called_single_and_a_missing_icc_has_its_reason():
    found = {"labels": {"rough": {"raters": FOUND | {"n": 1}}}}
    assert "(of a single clip that two people rated)" in rater_sentences(found)[0]
    assert "ICC(2,1) takes two clips that all of them rated, and ratings that differ." in rater_section(found)
