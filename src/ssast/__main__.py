"""Run the command line of ssast where Python is started with `python -m ssast`."""

import sys

from ssast.cli import main

if __name__ == "__main__":
    sys.exit(main())
