"""The modes in; the sections of the options and which modes each belongs to out."""

from ssast.options.declaration import Group
from ssast.options.records import MODES

EVERY = tuple(mode for mode in MODES if mode != "inspect")  # which only looks
BATCHED = ("pretrain", "finetune", "sweep", "evaluate", "extract")
WORK = (*BATCHED, "attention")
TRAIN = ("pretrain", "finetune")
HEADS = ("finetune", "sweep")
USE = ("evaluate", "extract", "attention")
LABELLED = (*HEADS, "evaluate", "check", "audit", "convert")
HEAR = ("predict", "stats")
READ = (*WORK, "check", "stats", "audit")
HEARD = (*WORK, "stats", "convert", "check", "audit")
SEND = (*WORK, *HEAR, "check", "compare", "audit", "upload")
BUCKET = (*READ, "predict", "compare", "upload")

NOWHERE = ("",)

LOADING = Group("Loading data", READ)
CLOUD = Group("Google cloud storage", (*WORK, *HEAR, "check", "compare", "audit"))
SAVING = Group("Saving data", WORK)
RUN = Group("Run mode", EVERY)
AUDIO = Group("Audio and spectrogram", (*WORK, "stats", "convert"))
WAVEFORM = Group("Waveform augmentation (training only)", TRAIN, alters=True)
FBANK = Group("Spectrogram augmentation (training only)", TRAIN, alters=True)
MODEL = Group("Model", (*TRAIN, "sweep"))
TRAINING = Group("Training", (*TRAIN, "sweep"))
PRETRAINING = Group("Pretraining", ("pretrain",))
HEAD = Group("Classification head", HEADS)
CHECKPOINT = Group("Checkpoint", ("inspect", "convert", "export"))
SCORES = Group("Scores", ("finetune", "evaluate", "compare", "audit"))
ATTENTION = Group("Attention", ("attention",))
MACHINE = Group("Machine", EVERY)
DEMO = Group("Demo", ("demo",))
