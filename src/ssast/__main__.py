"""`python -m ssast` in, the same as the command `ssast` out."""

import sys

from ssast.cli import main

if __name__ == "__main__":
    sys.exit(main())
