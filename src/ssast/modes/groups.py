"""The modes in; the sections of the options and which modes each belongs to out."""

from ssast.modes.catalogue import MODES
from ssast.modes.declare import Group

EVERY = tuple(MODES)
BATCHED = ("pretrain", "finetune", "evaluate", "extract")
WORK = (*BATCHED, "attention")
TRAIN = ("pretrain", "finetune")
USE = ("evaluate", "extract", "attention")
LABELLED = ("finetune", "evaluate", "check")
READ = (*WORK, "check")
SEND = (*WORK, "upload")
BUCKET = (*READ, "upload")

NOWHERE = ("",)

LOADING = Group("Loading data", READ)
CLOUD = Group("Google cloud storage", WORK)
SAVING = Group("Saving data", WORK)
RUN = Group("Run mode", EVERY)
AUDIO = Group("Audio and spectrogram", WORK)
WAVEFORM = Group("Waveform augmentation (training only)", TRAIN)
FBANK = Group("Spectrogram augmentation (training only)", TRAIN)
MODEL = Group("Model", TRAIN)
TRAINING = Group("Training", TRAIN)
PRETRAINING = Group("Pretraining", ("pretrain",))
HEAD = Group("Classification head", ("finetune",))
SCORES = Group("Scores", ("finetune", "evaluate", "compare"))
ATTENTION = Group("Attention", ("attention",))
MACHINE = Group("Machine", EVERY)
DEMO = Group("Demo", ("demo",))
