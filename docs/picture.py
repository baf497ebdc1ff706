"""A demo folder in, the README's picture out: what `ssast attention` drew for one test clip, with fewer colours.

python docs/picture.py demo docs/attention.png
"""

import sys
from pathlib import Path

from PIL import Image


def main() -> None:
    """Take the third clip's picture of the demo."""
    drawn = sorted((Path(sys.argv[1]) / "seen" / "attention").glob("*.png"))[-1]
    few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(sys.argv[2], optimize=True)


if __name__ == "__main__":
    main()
