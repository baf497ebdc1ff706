"""Fill a checklist: each item from the records, from study.yaml, or left open in plain words."""

from ssast import redaction
from ssast.pages.checklist_sheet import Answered, Entry, Section, Sheet, Statement
from ssast.runs.checklists.items import Checklist, Item, Knowledge
from ssast.runs.checklists.records import Records, understood
from ssast.runs.checklists.study_file import QUESTIONS, STUDY_FILE, Study, address


def fill(checklist: Checklist, records: Records, study: Study) -> Sheet:
    """The checklist with what is known of each item; UserError where the folders hold what ssast never writes."""
    sections = [
        Section(
            chapter.title, [_entry(item, address(checklist, item.number), records, study) for item in chapter.items]
        )
        for chapter in checklist.chapters
    ]
    return Sheet(checklist.name, checklist.source, checklist.remark, sections)


def _entry(item: Item, own: str, records: Records, study: Study) -> Entry:
    known = _known(item, records)
    is_alone = known is not None and item.source is not None and item.source.alone and not known.lacks
    written = _written(item, own, study)
    is_written = own in study.answers or (bool(item.keys) and all(key in study.texts for key in item.keys))
    state = Answered.RECORDS if is_alone else Answered.STUDY if is_written else Answered.OPEN
    statements = [*(known.statements if known else ()), *written]
    left = _left(item, own, known, study) if state is Answered.OPEN else ""
    return Entry(item.number, item.title, item.asks, state, [_shown(one) for one in _joined(statements)], left)


def _known(item: Item, records: Records) -> Knowledge | None:
    if item.source is None:
        return None
    with understood(records):
        return item.source.facts(records)


def _written(item: Item, own: str, study: Study) -> list[Statement]:
    """What study.yaml says to an item: to its keys, and to itself."""
    found = [Statement(study.texts[key], f"{STUDY_FILE}, {key}") for key in item.keys if key in study.texts]
    if own in study.answers:
        found.append(Statement(study.answers[own], f"{STUDY_FILE}, answers"))
    return found


def _left(item: Item, own: str, known: Knowledge | None, study: Study) -> str:
    """What is still to be said of an open item, and by which key."""
    missing = [key for key in item.keys if key not in study.texts]
    said = [known.lacks] if known and known.lacks else []
    if missing:
        said.append(f"{'Left to a person' if known else 'Only a person can say'}: {_asked(missing)}")
    if item.source and item.source.hint and not known:
        said.append(f"{item.source.hint} lets the records say more.")
    if not known and not missing:
        said.insert(0, "The records given do not say this.")
    return f"{' '.join(said)} ({STUDY_FILE}, {', '.join(missing) or f'answers: {own}'})"


def _asked(keys: list[str]) -> str:
    text = "; ".join(QUESTIONS[key] for key in keys)
    return text if text.endswith(("?", "...")) else f"{text}."


def _joined(statements: list[Statement]) -> list[Statement]:
    """Each sentence once, with all places that bear it out."""
    places: dict[str, dict[str, None]] = {}
    for one in statements:
        places.setdefault(one.text, {})[one.place] = None
    return [Statement(text, "; ".join(found)) for text, found in places.items()]


def _shown(statement: Statement) -> Statement:
    """A statement as it may be shown: in a private run without secret names."""
    return Statement(redaction.shown(statement.text), redaction.shown(statement.place))
