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
        "rough: its raters agree with each other at alpha 0.450 (0.30 to 0.60), ICC(2,1) -; kappa with quadratic "
        "weights: a rater with the others' mean 0.700, a rater with another 0.500 (0.40 to 0.60), the model with a "
        "rater 0.420 (0.30 to 0.50)"
    ]


def test_the_page_has_a_table_a_label_and_one_with_each_rater_and_nothing_without_raters():
    text = rater_section({"labels": {"<rough>": {"raters": FOUND}}})
    for said in ("The raters", "&lt;rough&gt;", "the model minus a rater", "-0.200 to 0.040", "rater 1", "90 clips"):
        assert said in text, said
    assert rater_section({"labels": {"age": {}}}) == ""
    many = {name: own for name, own in FOUND.items() if "rater" not in name and name not in ("difference", "each")}
    assert rater_sentences({"labels": {"rough": {"raters": many}}})[0].endswith("ICC(2,1) -")
    assert "with each" not in rater_section({"labels": {"rough": {"raters": many}}})
