"""Declare the options about recordings and tables: where they lie, and where results go."""

from dataclasses import dataclass

from ssast.options.declaration import OptionGroup, option

LOADING = OptionGroup("Loading data")
CLOUD = OptionGroup("Google cloud storage")
SAVING = OptionGroup("Saving data")


@dataclass(frozen=True)
class DataOptions:
    """The part of `Options` about where data lie: every value is checked there."""

    # Loading data
    prefix: str | None = option(
        None,
        "folder of the recordings, PREFIX/UID/waveform.EXT; in a bucket without gs://; arrange: of the audio files",
        LOADING,
        short="i",
        is_path=True,
        is_needed=True,
    )
    study: str | None = option(
        None,
        "folder below prefix, where that holds more than one study",
        LOADING,
        short="s",
        is_rare=True,
        secret="study",
    )
    data_split_root: str | None = option(
        None,
        "folder with train.csv and test.csv, or one csv for evaluate, extract and attention; arrange: the table",
        LOADING,
        short="d",
        is_path=True,
        is_needed=True,
    )
    label_txt: str | None = option(
        "./labels.txt",
        "text file with the target labels, one a line; arrange reads it only where it is given",
        LOADING,
        short="l",
        is_path=True,
    )
    lib: bool = option(False, "read recordings with librosa", LOADING, is_rare=True, is_public=True)
    pretrained_mdl_path: str | None = option(
        "SSAST-Base-Frame-400.pth",
        "pretrained model to start from: a published name or .pth, or a model folder; none: random weights",
        LOADING,
        shown="SSAST-Base-Frame-400.pth; pretrain: none",
        is_path=True,
    )
    finetuned_mdl_path: str | None = option(
        None,
        "fine-tuned model to use: a model folder, or an older or published file",
        LOADING,
        is_path=True,
    )
    files: str | None = option(
        None,
        "what to predict or look at: audio files, or folders with some in or below them, here or at addresses; "
        "one a line",
        LOADING,
        is_path=True,
        is_needed=True,
        shown="needed for predict",
        is_many=True,
    )
    on_bad_audio: str = option(
        "error",
        "what a recording that cannot be used does: end the run, or be left out and named",
        LOADING,
        choices=("error", "skip"),
    )
    file_column: str | None = option(
        None,
        "column of the table that names the audio files, or holds the codes that begin their folders or names",
        LOADING,
        shown="the one that does",
    )
    subject_column: str | None = option(
        None,
        "column of the table that says who speaks",
        LOADING,
        shown="speaker, subject, or the like",
    )
    label_column: str | None = option(
        None,
        "column of text, such as diagnosis, to make a yes/no label of each entry; several columns with commas between",
        LOADING,
        shown="all columns of yes and no are labels",
        is_many=True,
    )
    join_table: str | None = option(
        None,
        "further table, such as participants.tsv or sessions.tsv, to join to the recordings; several one a line",
        LOADING,
        is_path=True,
        is_many=True,
    )
    join_on: str | None = option(
        None,
        "columns to join tables by, with commas between; left=right where their names differ",
        LOADING,
        shown="columns of participant, session and task",
    )
    test_share: float = option(
        0.25,
        "share of the people that test.csv is of; 0: no splits, all.csv alone",
        LOADING,
        low=0,
        below=1,
    )
    # Google cloud storage
    bucket_name: str | None = option(
        None, "bucket of the recordings and, while cloud is True, of the results", CLOUD, short="b", secret="bucket"
    )
    project_name: str | None = option(
        None, "project of the bucket", CLOUD, short="p", is_rare=True, changes_result=False, secret="project"
    )
    cloud: bool = option(
        True,
        "also save the results to the bucket; without --bucket_name they stay here",
        CLOUD,
        is_rare=True,
        changes_result=False,
    )
    cache_gb: float = option(
        50.0,
        "room on this disk for what was read from buckets and for pooled states, in $SSAST_CACHE or ~/.cache/ssast; "
        "what was not used for the longest time goes first",
        CLOUD,
        unit="GB",
        above=0,
        is_rare=True,
        changes_result=False,
    )
    # Saving data
    private: bool = option(
        False,
        "show salted hashes instead of uids, subjects and paths wherever they would stand; "
        "what they stand for is kept in $SSAST_KEYS or ~/.config/ssast",
        SAVING,
        changes_result=False,
    )
    dataset: str | None = option(
        None,
        "name of the data set in file names",
        SAVING,
        shown="lowest folder of data_split_root",
        is_rare=True,
        is_public=True,
    )
    exp_dir: str = option(
        "./experiments",
        "local folder for everything that is written",
        SAVING,
        short="o",
        is_path=True,
        changes_result=False,
    )
    shard_mb: float = option(512.0, "size of a shard", SAVING, unit="MB", above=0, is_rare=True)
    row_group_mb: float = option(
        64.0,
        "size of a row group of a shard, which is read whole and shuffled with few others",
        SAVING,
        unit="MB",
        above=0,
        is_rare=True,
    )
    cloud_dir: str = option(
        "",
        "folder inside the bucket to save to, without gs:// and bucket name",
        SAVING,
        changes_result=False,
        secret="cloud_dir",
    )
