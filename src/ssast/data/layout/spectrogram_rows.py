"""Make the rows of a Parquet file of spectrograms what the files of a folder are: recordings with names."""

from ssast.data.layout.file_column import FileColumn, TableOfFiles
from ssast.data.layout.filenames import File
from ssast.data.spectrograms.power_table import PowerTable

_NAME = "recording"


def recordings_of(power: PowerTable) -> TableOfFiles:
    """The columns of the file by row, with the names of its recordings."""
    return {_NAME: power.names, **power.keys}


def rows_of(power: PowerTable) -> FileColumn:
    """The recordings by row; each has the name that `spectrogram.npy` of it will lie under."""
    names = power.names
    files = {row: [File(power.place, (name,))] for row, name in names.items()}
    return FileColumn(_NAME, names, files, {}, {}, [], [], is_of_people=False)
