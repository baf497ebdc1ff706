"""A notebook in, the same one run and with new outputs out; progress bars and warnings are left aside.

python docs/notebook.py run.ipynb run.ipynb    (or make notebook); it works in a folder of its own that it removes
"""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    """Run every cell; the first that fails ends it with its traceback."""
    source, target = map(Path, sys.argv[1:3])
    book = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(book, timeout=600, kernel_name="python3", record_timing=False, resources=resources).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = told(cell.outputs)
    book.metadata = METADATA
    nbformat.write(book, target)


def told(outputs: list) -> list:
    """The outputs without standard error, progress and the name of the home folder; lines in one piece."""
    kept: list = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        elif output.name == "stdout":
            text = re.sub(r"[^\n]*\r(?!\n)[^\n]*\n?", "", output.text.replace("\r\n", "\n"))
            text = text.replace(str(Path.home()), "~")
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += text
            else:
                output.text = text
                kept.append(output)
    return kept


if __name__ == "__main__":
    main()
