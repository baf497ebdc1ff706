from ssast.pages.checklist_sheet import Answered, Statement
from ssast.runs.checklists.filling import fill
from ssast.runs.checklists.items import Checklist, Knowledge, Origin, chapters
from ssast.runs.checklists.records import Records
from ssast.runs.checklists.study_file import Study

NOTHING = Records([])
FACT = Statement("It is so.", "a/b.json")


def entry(keys="", source=None, study=None):
    text = f"# One\n1 | Title | What is asked. | {keys}"
    own = Checklist("tripod", "T", "", "", chapters(text, {"1": source} if source else {}))
    return fill(own, NOTHING, study or Study()).entries[0]


def knows(lacks="", alone=True):
    return Origin(lambda records: Knowledge((FACT, FACT), lacks), alone)


def test_records_answer_alone_only_what_they_know_whole():
    assert entry(source=knows()).state is Answered.RECORDS
    assert entry(source=knows(lacks="No interval.")).state is Answered.OPEN
    assert "No interval." in entry(source=knows(lacks="No interval.")).left
    assert entry("ethics", knows(alone=False)).state is Answered.OPEN
    assert entry(source=Origin(lambda records: None, alone=True)).state is Answered.OPEN


def test_study_yaml_answers_when_all_its_keys_are_there_and_facts_stand_beside_it():
    study = Study({"ethics": "Yes, 12."})
    both = entry("ethics", knows(alone=False), study)
    assert (both.state, [one.text for one in both.statements], both.left) == (
        Answered.STUDY,
        ["It is so.", "Yes, 12."],
        "",
    )
    half = entry("ethics funding", None, study)
    assert half.state is Answered.OPEN
    assert "study.yaml, funding" in half.left


def test_any_item_can_be_answered_by_its_number():
    assert entry(study=Study({}, {"tripod 1": "So."})).state is Answered.STUDY
    assert "answers: tripod 1" in entry().left


def test_the_same_sentence_of_two_places_stands_once():
    assert entry(source=knows()).statements == [FACT]
