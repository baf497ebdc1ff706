"""The modes in; the sections of the options and which modes each belongs to out."""

from ssast.options.declaration import OptionGroup
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

LOADING = OptionGroup("Loading data", READ)
CLOUD = OptionGroup("Google cloud storage", (*WORK, *HEAR, "check", "compare", "audit"))
SAVING = OptionGroup("Saving data", WORK)
RUN = OptionGroup("Run mode", EVERY)
AUDIO = OptionGroup("Audio and spectrogram", (*WORK, "stats", "convert"))
WAVEFORM = OptionGroup("Waveform augmentation (training only)", TRAIN, alters=True)
FBANK = OptionGroup("Spectrogram augmentation (training only)", TRAIN, alters=True)
MODEL = OptionGroup("Model", (*TRAIN, "sweep"))
TRAINING = OptionGroup("Training", (*TRAIN, "sweep"))
PRETRAINING = OptionGroup("Pretraining", ("pretrain",))
HEAD = OptionGroup("Classification head", HEADS)
CHECKPOINT = OptionGroup("Checkpoint", ("inspect", "convert", "export"))
SCORES = OptionGroup("Scores", ("finetune", "evaluate", "compare", "audit"))
ATTENTION = OptionGroup("Attention", ("attention",))
MACHINE = OptionGroup("Machine", EVERY)
DEMO = OptionGroup("Demo", ("demo",))
