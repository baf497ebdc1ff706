import numpy as np

from ssast.metrics.reliability import embedding_repeatability, repeatability
from ssast.pages.retest_page import retest_page

VALUES = np.random.default_rng(0).normal(size=(12, 2)) + np.arange(12)[:, None]


def test_the_page_shows_every_measure_with_its_interval_and_each_person_once():
    found = {"<b>": {"people": 12, **repeatability(VALUES)}}
    text = retest_page("Test", ["12 people."], found, {}, {"<b>": VALUES})
    assert text.count("<circle") == 12
    assert "&lt;b&gt;" in text
    low, high = found["<b>"]["mdc95"]["interval"]
    assert f"{found['<b>']['mdc95']['value']:.3f}\n{low:.3f} to {high:.3f}" in text
    assert "<h2>Embeddings</h2>" not in text


def test_values_that_do_not_vary_and_embeddings_alone_have_a_page_too():
    same = np.ones((5, 2))
    assert "<svg" in retest_page("T", [], {"x": {"people": 5, **repeatability(same)}}, {}, {"x": same})
    own = {"people": 12, **embedding_repeatability(VALUES[:, :, None], 10, 0)}
    text = retest_page("T", [], {}, {"layer6": own}, {})
    assert "<h2>Embeddings</h2>" in text
    assert "<h2>Scores</h2>" not in text
