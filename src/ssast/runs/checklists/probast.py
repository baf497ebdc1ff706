"""List the signalling questions of PROBAST+AI: their numbers, paraphrases of ours, and who can answer them.

D stands for the part about making a model, E for the part about testing one; three domains are asked in both.
"""

from ssast.runs.checklists import audit_facts, model_facts, score_facts
from ssast.runs.checklists.items import Chapter, Checklist, Origin, chapters

_IN_BOTH = """
# domain 1, people and data
1.1 | Sources | Do the data come from where they should? | data_source
1.2 | Design | Does the design of the study suit the question? | study_design
1.3 | Who is in | Are those who are in like those whom the model is for? | eligibility representativeness

# domain 2, predictors
2.1 | Alike for all | Were all people recorded in the same way? | recording
2.2 | Prepared alike | Were all recordings prepared in the same way? |
2.3 | Blind to the outcome | Did those who recorded people not know their outcome? | recording_blinding
2.4 | There in time | Is there a recording at the moment when the model is to be used? | intended_use

# domain 3, outcome
3.1 | Definition | Is the outcome well defined and well assessed? | outcome
3.2 | Assessed alike | Was it defined and assessed in the same way for all people? | outcome_consistency
3.3 | Blind to the recording | Was it assessed without knowing what the model hears? | outcome_blinding
3.4 | Time between | Is the time between recording and outcome right? | outcome_timing
"""
_MAKING = """
# domain 4, analysis
4.1 | Sample size | Were there enough people and events? | sample_size
4.2 | Kinds of predictors | Were numbers left as numbers, and kinds handled as kinds? |
4.3 | Missing data | Were missing data, and people not followed to the end, treated rightly? | missing_data
4.4 | Class imbalance | If rare answers were weighed up, were scores set right afterwards? | imbalance
4.5 | Overfitting | Was something done against learning the training data by heart? |
"""
_TESTING = """
# domain 4, analysis
4.1 | Not on training data | Was the model tested on other data than it was made with? |
4.2 | Sample size | Were there enough people and events? | sample_size
4.3 | Missing data | Were missing data, and people not followed to the end, treated rightly? | missing_data
4.4 | Test as it is | If rare answers were weighed up, was the test left as it is? |
4.5 | Leaks | If data were split, did nothing leak from the one part into the other? | leakage
4.6 | Resampling | If folds were used, was every step of training done anew in each? |
4.7 | Measures | Was the model judged rightly, by discrimination, calibration and use (net benefit)? |
"""
_SOURCES = {
    "2.1": Origin(audit_facts.traits_known, hint="ssast audit"),
    "2.2": Origin(model_facts.handling_known, alone=True),
    "2.3": Origin(model_facts.measured_by_program_known),
    "2.4": Origin(model_facts.sound_alone_known),
    "3.1": Origin(model_facts.labels_known),
}
_OF_MAKING = {
    "D4.1": Origin(score_facts.size_known),
    "D4.2": Origin(model_facts.continuous_known, alone=True),
    "D4.3": Origin(score_facts.losses_known),
    "D4.4": Origin(model_facts.imbalance_known, alone=True),
    "D4.5": Origin(model_facts.overfitting_known, alone=True),
}
_OF_TESTING = {
    "E4.1": Origin(audit_facts.apart_known, alone=True, hint="ssast audit"),
    "E4.2": Origin(score_facts.size_known),
    "E4.3": Origin(score_facts.losses_known),
    "E4.4": Origin(model_facts.test_as_it_is_known, alone=True),
    "E4.5": Origin(audit_facts.leaks_known, hint="ssast audit"),
    "E4.6": Origin(model_facts.folds_known, alone=True),
    "E4.7": Origin(score_facts.judged_known, alone=True),
}


def _part(letter: str, title: str, own: str, sources: dict[str, Origin]) -> tuple[Chapter, ...]:
    """The chapters of one part: the three domains of both, and its own fourth."""
    shared = {f"{letter}{number}": source for number, source in _SOURCES.items()}
    found = chapters(f"{_IN_BOTH}{own}", shared | sources, letter)
    return tuple(Chapter(f"{title}, {chapter.title}", chapter.items) for chapter in found)


PROBAST = Checklist(
    "probast",
    "PROBAST+AI",
    "The numbers are those of Moons et al., PROBAST+AI, BMJ 2025;388:e082505, with D before the 16 questions about "
    "making a model and E before the 18 about testing one. The words are ours and short: the paper has each in full.",
    "An answer here is what is known, not a judgement. Yes, probably yes, probably no or no, and the ratings of "
    "quality, risk of bias and applicability, are left to whoever assesses the study.",
    (*_part("D", "Making the model", _MAKING, _OF_MAKING), *_part("E", "Testing the model", _TESTING, _OF_TESTING)),
)
