"""The seed's entry point: `python run.py -m finetune ...` in, `ssast finetune ...` out; it needs no installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from ssast.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="run.py"))
