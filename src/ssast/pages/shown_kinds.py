"""What the screen and the pages show of each kind of label: one record a kind, so a new kind is one entry here."""

from collections.abc import Mapping
from dataclasses import dataclass

from ssast.model.label_kinds import CHOICE, NUMBER, SCALE, YES_NO


@dataclass(frozen=True)
class ShownKind:
    """How the scores of labels of one kind are shown.

    `leading` is the measure whose interval and level of chance stand first, and `no_effect` what it is where score and
    truth have nothing to do with each other. `on_screen` are the measures beside it, `on_page` all of the report,
    `swept` those of sweep.csv, of which the first says which layer is best. `baseline` is what an answer without a
    model reaches, and how it is called in a table; `trivial` the measure that is held against such an answer, and
    which one that is. `leads` begins the sentence of the leading measure, `reading` explains each measure.
    """

    name: str
    leading: str
    no_effect: float
    on_screen: tuple[str, ...]
    on_page: tuple[str, ...]
    swept: tuple[str, ...]
    baseline: Mapping[str, str]
    trivial: tuple[str, str]
    leads: str
    reading: str


SHOWN = {
    YES_NO: ShownKind(
        name="yes or no",
        leading="auc",
        no_effect=0.5,
        on_screen=("average_precision", "sensitivity", "specificity"),
        on_page=("auc", "average_precision", "sensitivity", "specificity", "brier", "ece"),
        swept=("auc",),
        baseline={"f1": "of always yes"},
        trivial=("f1", "always saying yes"),
        leads="a clip with the label gets a higher score than one without it in",
        reading="""\
AUC: of a clip with the label and one without, how often the first gets the higher score; 0.5 is a coin.
AP (average precision): how clean the list of clips is when it is sorted by score; a coin gives the prevalence.
Sensitivity: share of the clips with the label that are called. Specificity: share of those without it that are not.
Brier: mean squared distance of score and truth, 0 is perfect.
ECE (expected calibration error): how far scores lie from the shares they claim, on average.""",
    ),
    NUMBER: ShownKind(
        name="numbers",
        leading="pearson",
        no_effect=0.0,
        on_screen=("spearman", "ccc", "mae", "rmse"),
        on_page=("pearson", "spearman", "ccc", "mae", "rmse"),
        swept=("spearman", "rmse"),
        baseline={"mae": "of the mean"},
        trivial=("mae", "the mean of the targets"),
        leads="the values correlate with the truth at",
        reading="""\
Pearson: how closely value and truth lie along a line, 1 is perfect; Spearman: the same for their order.
CCC (concordance): like Pearson, but a constant offset or another scale counts against it.
MAE: mean distance of value and truth, in the label's own unit, in brackets that of answering with the targets' mean.
RMSE: the same, large errors counting more.""",
    ),
    SCALE: ShownKind(
        name="scales",
        leading="qwk",
        no_effect=0.0,
        on_screen=("spearman", "auc", "mae_steps"),
        on_page=("qwk", "spearman", "auc", "mae_steps"),
        swept=("qwk", "spearman", "mae_steps"),
        baseline={"mae_steps": "of the median"},
        trivial=("mae_steps", "the median of the targets"),
        leads="the levels agree with the truth, beyond chance, at",
        reading="""\
QWK (kappa with quadratic weights): how far levels agree with the truth beyond chance, 1 is perfect.
Spearman: how closely the order of the expected levels follows that of the truth.
AUC: of a clip at or above a cut of the scale and one below, how often the first gets the higher score.
MAE (steps): how many levels the answer is off, on average, in brackets that of always the median level.""",
    ),
    CHOICE: ShownKind(
        name="one of several kinds",
        leading="balanced_accuracy",
        no_effect=0.0,  # its level of chance says so, since it depends on the number of kinds
        on_screen=("auc", "accuracy"),
        on_page=("balanced_accuracy", "auc", "accuracy"),
        swept=("balanced_accuracy", "auc"),
        baseline={"accuracy": "of the commonest kind"},
        trivial=("accuracy", "always the commonest kind"),
        leads="the kind is right, each kind counting alike, in a share of",
        reading="""\
Balanced accuracy: share of clips whose kind is found, each kind counting alike.
AUC: mean over the kinds, each against the rest.
Accuracy: share of clips whose kind is found, in brackets that of always the commonest kind.""",
    ),
}
