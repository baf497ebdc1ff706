"""Draw the rooms of the house from the imports of the package, floors from bottom to top, as docs/rooms.svg.

    python docs/rooms.py > docs/rooms.svg

The floors and the imports are those that tests/test_house.py watches. An arrow is drawn only where no other way leads
from the one room to the other, so that the picture stays readable: each import follows one or several arrows.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from test_house import DOOR, FLOORS, FOUNDATION, MODULES, imports, room

BASE = "foundation"
# Each room's column, its name in the picture, and what it holds.
ROOMS = {
    DOOR: (1.0, "cli.py, help.py", "command line → mode → exit code"),
    "modes": (1.0, "modes/", "one file a command"),
    "adapters": (0.0, "adapters/", "scikit-learn, HEAR, s3prl, ONNX"),
    "runs": (1.0, "runs/", "what several modes share"),
    "dataset_audit": (2.0, "dataset_audit/", "what a data set hides"),
    "engine": (0.0, "engine/", "training, inference, hardware"),
    "options": (1.0, "options/", "declarations, one record a mode"),
    "pages": (2.0, "pages/", "results → html, figures, tables"),
    "metrics": (2.0, "metrics/", "scores and their intervals"),
    "data": (1.0, "data/", "tables, splits, storage, loaders"),
    "audio": (0.5, "audio/", "file → waveform → fbank"),
    "model": (1.5, "model/", "fbank → states → logits, losses"),
    BASE: (1.0, "errors.py, redaction.py, ...", "below everything: each room may import it"),
}
WIDTH, BOX_WIDTH, BOX_HEIGHT, PITCH, MARGIN = 900, 252, 50, 84, 12
STYLE = "text{font-family:Helvetica,Arial,sans-serif;fill:#1d2b2a}.n{font-size:15px;font-weight:bold}.t{font-size:13px}"
TOP = max(FLOORS.values()) + 1


def room_of(module: str) -> str:
    """The room of a module; the files below everything count as one."""
    return BASE if module in FOUNDATION else room(module)


def arrows() -> list[tuple[str, str]]:
    """The imports between rooms that no other way explains, without those of the files below everything."""
    ways = {(room_of(module), room_of(target)) for module, targets in imports().items() for target in targets}
    ways = {(above, below) for above, below in ways if above != below and below != BASE}
    longer = set(ways)  # becomes every way of two steps or more
    while more := {(a, d) for a, b in longer for c, d in ways if b == c} - longer:
        longer |= more
    around = {(a, d) for a, b in ways for c, d in longer if b == c}
    return sorted(ways - around)


def place(name: str) -> tuple[float, float]:
    """The middle of a room's box."""
    column, floor = ROOMS[name][0], {**FLOORS, DOOR: TOP, BASE: 0}[name]
    between = (WIDTH - 2 * MARGIN - 30 - BOX_WIDTH) / 2
    return MARGIN + 30 + BOX_WIDTH / 2 + column * between, MARGIN + BOX_HEIGHT / 2 + (TOP - floor) * PITCH


def boxes() -> Iterator[str]:
    """A box for each room, with its number of files."""
    files = Counter(room_of(module) for module, path in MODULES.items() if path.name != "__init__.py")
    for name, (_, title, holds) in ROOMS.items():
        x, y = place(name)
        wide = BOX_WIDTH * (1.3 if name in (DOOR, BASE) else 1)
        yield (
            f'<rect x="{x - wide / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{wide:g}" height="{BOX_HEIGHT}" rx="6" '
            'fill="#e3f1ef" stroke="#2a7f77"/>'
        )
        told = f"{escape(title)} · {files[name]} files"
        yield f'<text class="n" x="{x:g}" y="{y - 5:g}" text-anchor="middle">{told}</text>'
        yield f'<text class="t" x="{x:g}" y="{y + 15:g}" text-anchor="middle">{escape(holds)}</text>'


def picture() -> str:
    """The whole picture as SVG."""
    height = 2 * MARGIN + BOX_HEIGHT + TOP * PITCH
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    ]
    lines += [f"<title>The rooms of ssast</title><style>{STYLE}</style>"]
    lines += ['<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">']
    lines += ['<path d="M0 0L8 4L0 8z" fill="#55706d"/></marker>', '<rect width="100%" height="100%" fill="#fff"/>']
    for floor in range(TOP + 1):
        lines += [
            f'<text class="n" x="{MARGIN}" y="{MARGIN + BOX_HEIGHT / 2 + (TOP - floor) * PITCH + 5:g}">{floor}</text>'
        ]
    for above, below in arrows():
        (x1, y1), (x2, y2) = place(above), place(below)
        ends = f'x1="{x1:g}" y1="{y1 + BOX_HEIGHT / 2:g}" x2="{x2:g}" y2="{y2 - BOX_HEIGHT / 2 - 1:g}"'
        lines += [f'<line {ends} stroke="#55706d" stroke-width="1.5" marker-end="url(#a)"/>']
    return "\n".join([*lines, *boxes(), "</svg>", ""])


if __name__ == "__main__":
    print(picture(), end="")
