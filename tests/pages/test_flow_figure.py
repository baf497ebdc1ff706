from ssast.pages.flow_figure import flow_section


def test_a_diagram_of_many_labels_and_long_names_stays_one_picture_and_breaks_their_lines():
    words = "a very long name of a label, the number {}, with more words than fit into one line of a box"
    labels = {words.format(n): {"known": 3, "empty": 0} for n in range(90)}
    amount = {"recordings": 3, "people": None}
    flow = {"unit": "clip", "table": amount, "scored": amount, "labels": labels}
    text = flow_section({"flow": flow | {"left_out": {"recordings": 0, "reasons": []}}})
    assert "and 60 labels more" in text
    assert text.count("<svg") == 1
    lines = [part.split("</text>")[0] for part in text.split("<text")[1:]]
    assert max(len(line.split(">")[1]) for line in lines) <= 54
