"""List the items of TRIPOD+AI: their numbers, paraphrases of ours, and who can answer them."""

from ssast.runs.checklists import model_facts, people_facts, score_facts
from ssast.runs.checklists.items import Checklist, Origin, chapters

_ITEMS = """
# Title and abstract
1 | Title | Says that a prediction model is made or tested, for whom, and for which outcome. | title
2 | Abstract | Sums the study up in the parts that TRIPOD+AI lists for abstracts. | abstract

# Introduction
3a | Context | Why this is to be predicted, whether diagnosis or prognosis, and which models exist. | background
3b | Intended use | For which people, at which point of their care, and used by whom. | intended_use
3c | Inequalities | Which differences in health between groups (sex, income, origin ...) are known. | inequalities
4 | Objectives | What the study was to find out; whether it makes a model, tests one, or both. | objectives

# Methods: data, outcome and predictors
5a | Sources of data | Where data for making and testing come from, why these, whom they stand for. | data_source
5b | Dates | When people were recorded, first to last, and the end of follow-up. | dates
6a | Setting | In what kind of care people were recorded, in how many places, and where these are. | setting
6b | Eligibility | Who could take part and who could not. | eligibility
6c | Treatments | Which treatments people had, and what was made of that. | treatments
7 | Preparation of the data | How data were prepared and checked, and whether alike for all groups. | preparation
8a | Outcome | What is predicted, how far ahead; how and when assessed; why; if alike for all groups. | outcome
8b | Assessors of the outcome | Who assessed it (training, age, sex ...), where that takes judgement. | outcome_raters
8c | Blinding of the outcome | What kept those who assessed it from knowing more. | outcome_blinding
9a | Choice of predictors | Which predictors were begun with, and what was dropped before the model was made. |
9b | Definition of predictors | What each is, how and when it was measured, and without knowing what. | recording
9c | Assessors of predictors | Who measured predictors (training, age, sex ...), where that takes judgement. |

# Methods: analysis
10 | Sample size | How the size came about, for making and for testing, and whether it is enough. | sample_size
11 | Missing data | What became of missing data, and why any were left out. | missing_data
12a | Use of the data | Which data made the model and which tested it, and how they were parted. |
12b | Handling of predictors | How predictors were scaled, transformed or cut. |
12c | Building the model | Its type and why, each step, settings tried, how it was validated. | model_choice
12d | Clusters | How differences between places (hospitals, countries) were handled and measured. | clusters
12e | Measures | By which measures and figures the model was judged, why these, and how models were compared. |
12f | Updating | Whether the model was changed after a test, for all or for some groups. | updating
12g | How scores come about | How the scores of the test were computed. |
13 | Class imbalance | Whether rare answers were weighed up, why, and what set scores right afterwards. | imbalance
14 | Fairness | What was done for fairness between groups of people, and why. | fairness
15 | Output of the model | What it gives; why there are classes, and how thresholds were found. | threshold_reason
16 | Training, evaluation | How setting, who could take part, outcome and predictors differ between both. | differences
17 | Ethics | Which committee approved the study, and how people consented. | ethics

# Open science, patients and the public
18a | Funding | Who paid, and what part they had. | funding
18b | Conflicts of interest | What the authors have to declare. | conflicts
18c | Protocol | Where the protocol is, or that there is none. | protocol
18d | Registration | Under which number the study is registered, or that it is not. | registration
18e | Data | Whether and how others can have the data. | data_availability
18f | Code | Whether and how others can have the code of the analysis. | code_availability
19 | Involvement | What part patients and the public had, or that they had none. | involvement

# Results
20a | Flow of people | How many came and went on, with and without the outcome; how long followed. | recruitment
20b | Who they are | Their characteristics, events and what is missing, by source and by group. | characteristics
20c | Both sets beside each other | How people, sound and outcome are spread in training and in evaluation. | comparison
21 | Numbers in each analysis | People and events in training, in tuning and in evaluation. | numbers
22 | The model itself | What others need to use and to test it, and what restricts that. | model_availability
23a | Performance | Estimates with intervals, also in the groups that matter. |
23b | Performance by place | How results differ between places, if that was looked at. | clusters
24 | Results of updating | The changed model and what it reaches, if it was changed. | updating

# Discussion
25 | Interpretation | What the results mean, fairness included, beside the aims and other studies. | interpretation
26 | Limitations | What limits the study, and what that does to its results. | limitations
27a | Poor input | How to tell that a recording is poor or missing, and what to do then. | poor_input
27b | Users | Whether users have to do something with input or model, and what they have to know. | users
27c | Next steps | What is to be studied next, for whom the model is to serve. | next_steps
"""
_BY_SITE = "ssast evaluate --groups site"
_SOURCES = {
    "7": Origin(model_facts.preparation_known),
    "8a": Origin(model_facts.labels_known),
    "8b": Origin(score_facts.raters_known),
    "9a": Origin(model_facts.sound_alone_known, alone=True),
    "9b": Origin(model_facts.spectrogram_known),
    "9c": Origin(model_facts.measured_by_program_known, alone=True),
    "10": Origin(score_facts.size_known),
    "11": Origin(score_facts.losses_known),
    "12a": Origin(model_facts.partition_known, alone=True),
    "12b": Origin(model_facts.handling_known, alone=True),
    "12c": Origin(model_facts.building_known),
    "12d": Origin(people_facts.clusters_known, alone=True, hint=_BY_SITE),
    "12e": Origin(score_facts.measures_known, alone=True),
    "12f": Origin(score_facts.updating_known, alone=True),
    "12g": Origin(model_facts.calculation_known, alone=True),
    "13": Origin(model_facts.imbalance_known, alone=True),
    "14": Origin(people_facts.groups_known, hint="ssast evaluate --groups sex,age"),
    "15": Origin(model_facts.output_known),
    "16": Origin(score_facts.shift_known, hint="ssast evaluate --external True"),
    "18f": Origin(model_facts.versions_known),
    "20a": Origin(score_facts.flow_known),
    "20b": Origin(people_facts.group_sizes_known),
    "20c": Origin(score_facts.shift_known, alone=True, hint="ssast evaluate --external True"),
    "21": Origin(people_facts.numbers_known, alone=True),
    "22": Origin(model_facts.files_known),
    "23a": Origin(score_facts.performance_known, alone=True),
    "23b": Origin(people_facts.clusters_known, alone=True, hint=_BY_SITE),
    "24": Origin(score_facts.updating_known, alone=True),
    "26": Origin(score_facts.limits_known),
    "27a": Origin(score_facts.poor_recordings_known),
}
TRIPOD = Checklist(
    "tripod",
    "TRIPOD+AI",
    "The numbers are those of Collins et al., TRIPOD+AI statement, BMJ 2024;385:e078378. The words are ours and short: "
    "the paper says what each item asks in full.",
    "A sheet for the supplement of a paper. Write the page of the paper beside each answer.",
    chapters(_ITEMS, _SOURCES),
)
