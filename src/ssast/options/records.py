"""List the modes in all spellings of the seed: what each does, takes and gives, and its function."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """One thing that ssast does, for the list of modes; `function` is "module:name".

    `words` names the options that bare words on the command line fill: one each, and all that are left one with `...`.
    A mode that `only_prints` leaves nothing else behind, so that it may end where nobody reads on.
    """

    summary: str
    takes: str
    gives: str
    function: str
    words: str = ""
    only_prints: bool = False


# A further mode is one entry here and its function; an option shared with it names it in options.py.
MODES = {
    "arrange": Mode(
        "lay a folder of audio files and one table out as the other modes read them",
        "a folder of audio files and a csv that names them or their speakers: ssast arrange FOLDER TABLE NEW_FOLDER",
        "recordings/, splits/, all.csv and labels.txt in a new folder",
        "ssast.modes.arrange:arrange",
        words="prefix data_split_root exp_dir",
    ),
    "pretrain": Mode(
        "learn from unlabelled recordings, by guessing hidden patches of their spectrograms",
        "recordings, train.csv",
        "a pretrained model folder",
        "ssast.modes.pretrain:pretrain",
    ),
    "finetune": Mode(
        "train a classifier on a pretrained model, then evaluate it",
        "recordings, train.csv and test.csv, labels.txt, a pretrained model",
        "a fine-tuned model folder with scores, predictions and report.html",
        "ssast.modes.finetune:finetune",
    ),
    "evaluate": Mode(
        "score a fine-tuned model on labelled recordings",
        "recordings, a csv, labels.txt, a fine-tuned model",
        "scores, predictions and report.html",
        "ssast.modes.evaluate:evaluate",
    ),
    "extract": Mode(
        "write an embedding of every recording",
        "recordings, a csv, a pretrained or fine-tuned model",
        "a parquet file of uid and embedding",
        "ssast.modes.extract:extract",
    ),
    "attention": Mode(
        "show what a model looks at in chosen clips, and how far to trust that",
        "a fine-tuned or pretrained model, recordings and a csv, or audio files as in `ssast attention FILES`",
        "a page to see and hear it, a picture and a file of values for each clip",
        "ssast.modes.attention:attention",
        words="files...",
    ),
    "predict": Mode(
        "say what a fine-tuned model makes of any recordings; no csv is needed",
        "a fine-tuned model, audio files or folders, as in `ssast predict MODEL FILES`",
        "predicted.csv, a row a recording, and predicted_windows.csv, a row a window",
        "ssast.modes.predict:predict",
        words="finetuned_mdl_path files...",
    ),
    "stats": Mode(
        "measure the mean and standard deviation of a data set's log-mel values, to normalise by",
        "recordings, train.csv",
        "stats.yaml, to be given to the next run with --config",
        "ssast.modes.stats:stats",
    ),
    "check": Mode(
        "look through a data set before a long run: recordings, csv files, labels, what the splits share",
        "recordings, csv files, perhaps labels.txt",
        "tables of findings and of recordings; exit code 1 where a run would suffer",
        "ssast.modes.check:check",
    ),
    "sweep": Mode(
        "find the layer and the pooling of a frozen base that serve best, by validation",
        "recordings, train.csv, labels.txt, a pretrained model",
        "sweep.csv: the validation score of a head on each layer, in each pooling",
        "ssast.modes.sweep:sweep",
    ),
    "audit": Mode(
        "ask whether labels can be told from the recordings instead of the voice: leaks, loudness, length, device, ...",
        "recordings, csv files, labels.txt, perhaps the folder of a run that scored these clips",
        "audit.html, audit.csv, audit.json, and traits.csv with what was measured of each clip",
        "ssast.modes.audit:audit",
        words="runs...",
    ),
    "compare": Mode(
        "put runs that scored the same clips side by side, with paired intervals of their differences",
        "two or more folders that finetune or evaluate wrote, as in `ssast compare RUN RUN`",
        "compare.csv",
        "ssast.modes.compare:compare",
        words="runs...",
    ),
    "inspect": Mode(
        "say what a checkpoint is, what it hears and names, and what can be done with it",
        "a checkpoint of any kind, or a folder: ssast inspect FILE",
        "its kind, sizes, labels, SHA-256 and the commands it serves in; exit code 1 where it is of no use here",
        "ssast.modes.inspect:inspect",
        words="checkpoint...",
        only_prints=True,
    ),
    "convert": Mode(
        "make a model folder of a published or older checkpoint, and prove that it answers the same",
        "a published, or fine-tuned, .pth or .pt: ssast convert FILE OUT",
        "a model folder, and how far its outputs are from the original's formula",
        "ssast.modes.convert:convert",
        words="checkpoint exp_dir",
    ),
    "export": Mode(
        "write a model as other tools read it, and prove that it answers the same",
        "a model folder, or a published or older file: ssast export MODEL OUT --format onnx|ast",
        "a folder with model.onnx, or one that Hugging Face's transformers load as AST",
        "ssast.modes.export:export",
        words="checkpoint exp_dir",
    ),
    "upload": Mode(
        "send the results of a run that did not reach the bucket: ssast upload FOLDER",
        "an output folder",
        "its files in the bucket",
        "ssast.modes.upload:upload",
    ),
    "demo": Mode(
        "synthesise a small speech corpus; pretrain, fine-tune, evaluate and extract on it",
        "nothing",
        "the corpus, and a folder for each step",
        "ssast.modes.demo:demo",
    ),
}

# The seed's other names. `train` is pretrain or finetune, as the task says.
ALIASES = {"eval": "evaluate", "eval-only": "evaluate", "extraction": "extract", "embed": "extract"}
SPELLINGS = ("train", *MODES, *ALIASES)

PRETEXT_TASKS = ("pretrain_mpc", "pretrain_mpg", "pretrain_joint")
FINETUNING_TASKS = ("ft_cls", "ft_avgtok")


def canonical(mode: str, task: str) -> str:
    """The mode that a spelling stands for."""
    if mode == "train":
        return "pretrain" if task in PRETEXT_TASKS else "finetune"
    return ALIASES.get(mode, mode)
