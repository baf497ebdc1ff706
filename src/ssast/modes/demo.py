"""Run every step on a small synthetic speech corpus, from pretraining to pages: `ssast demo`."""

from pathlib import Path

from ssast.modes.extract import extract
from ssast.modes.finetune import finetune
from ssast.modes.pretrain import pretrain
from ssast.options.options import Options
from ssast.runs.context import say
from ssast.runs.wrapping.wrapper import Mode

# A demo has to end within minutes on two cores: two seconds of each clip to pretrain on, three to fine-tune on. There
# the base stays frozen and each clip goes through it once: to train all of it took ten times as long, and its scores
# were no better.
DEMO_TRAINING: dict[str, object] = {"batch_size": 8, "optim": "adamw", "scheduler": "onecycle"}
DEMO_PRETRAINING: dict[str, object] = {
    "model_size": "tiny",
    "target_length": 200,
    "mask_patch": 25,
    "epochs": 7,
    "max_lr": 1e-3,
}
DEMO_FINETUNING: dict[str, object] = {
    "target_length": 304,
    "task": "ft_avgtok",
    "weighted": True,
    "final_dropout": 0.5,
    "weight_decay": 0.05,
    "epochs": 60,
    "max_lr": 3e-3,
}


@Mode
def demo(options: Options) -> Path:
    """Make a small synthetic speech corpus and go the whole way on it, pretraining to attention page; its folder."""
    from ssast.audio.synthetic_corpus import write_corpus
    from ssast.modes.attention import attention

    root = Path(options.exp_dir)
    say(f"1/5 a corpus of {options.speakers} synthetic speakers, {options.clips_per_speaker} clips each")
    size = {"speakers": options.speakers, "clips_per_speaker": options.clips_per_speaker, "seed": options.seed}
    corpus = root / f"corpus-{options.speakers}x{options.clips_per_speaker}-{options.seed}"
    if not corpus.exists():  # it is written complete or not at all
        write_corpus(corpus, **size)
    shared: dict[str, object] = {
        name: getattr(options, name) for name in ("device", "precision", "threads", "seed", "num_workers", "resume")
    }
    shared |= {"prefix": str(corpus / "audio"), "data_split_root": str(corpus / "splits"), "dataset": "demo"}
    shared |= {"label_txt": str(corpus / "labels.txt"), **DEMO_TRAINING}
    say("2/5 pretraining a tiny model on its training clips")
    pretrained = pretrain(**shared, **DEMO_PRETRAINING, exp_dir=str(root / "pretrained"))
    say("3/5 fine-tuning it for the five labels, then evaluating it on unseen speakers")
    finetuned = finetune(
        **shared, **DEMO_FINETUNING, pretrained_mdl_path=str(pretrained), exp_dir=str(root / "finetuned")
    )
    say("4/5 one embedding for each test clip")
    shared["data_split_root"] = str(corpus / "splits" / "test.csv")
    table = extract(**shared, finetuned_mdl_path=str(finetuned), exp_dir=str(root / "embeddings"))
    say("5/5 what the model looks at in three of them")
    attention(**shared, finetuned_mdl_path=str(finetuned), max_clips=3, exp_dir=str(root / "seen"))
    say(f"\nListen to {corpus / 'audio'}/*/waveform.wav; their labels are in {corpus / 'splits'}")
    say(f"Look at {finetuned / 'report.html'} and {root / 'seen' / 'attention' / 'attention.html'} in a browser")
    say(f"The numbers are in {finetuned / 'aucs.csv'}, {finetuned / 'predictions.csv'} and {table}")
    return root
