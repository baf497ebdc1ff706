"""Make the pictures of docs/index.md and README.md from what `ssast attention` drew of a test clip of the demo.

    python docs/picture.py demo    (or a picture that it drew)

docs/attention.png is the whole of it with fewer colours; docs/seen.png, which a first screen has room for, is its first
two panels above the axis of time.
"""

import sys
from pathlib import Path

from PIL import Image

PAGES = Path(__file__).resolve().parent
PANELS, PANELS_KEPT = 7, 2
TITLE, AXIS, GAP = 30, 45, 0.28
"""Pixels above the first panel and below the last, and what lies between two as a share of one: see clip_figure.py."""


def main() -> None:
    """Take the third clip's picture of the demo."""
    drawn = Path(sys.argv[1])
    if drawn.is_dir():
        drawn = sorted((drawn / "seen" / "attention").glob("*.png"))[-1]
    few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(PAGES / "attention.png", optimize=True)
    beginning(few).save(PAGES / "seen.png", optimize=True)


def beginning(whole: Image.Image) -> Image.Image:
    """The first panels of a picture, with the axis of its last one below them."""
    panel = (whole.height - TITLE - AXIS) / (PANELS + GAP * (PANELS - 1))
    end = round(TITLE + panel * (PANELS_KEPT + GAP * (PANELS_KEPT - 1)))
    axis = whole.crop((0, whole.height - AXIS, whole.width, whole.height))
    top = whole.crop((0, 0, whole.width, end + axis.height))
    top.paste(axis, (0, end))
    return top


if __name__ == "__main__":
    main()
