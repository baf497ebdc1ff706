"""Fill the checklists that reviewers work by from the records of runs: `ssast report`."""

from pathlib import Path

from ssast import redaction
from ssast.data.storage.atomic_writes import atomic_file, writable_folder
from ssast.options.options import Options
from ssast.pages.checklist_sheet import Answered, sheet_markdown, sheet_page
from ssast.pages.html import write_page
from ssast.runs.checklists.filling import fill
from ssast.runs.checklists.probast import PROBAST
from ssast.runs.checklists.records import read_records
from ssast.runs.checklists.study_file import STUDY_FILE, Study, read_study, write_template
from ssast.runs.checklists.tripod import TRIPOD
from ssast.runs.context import say, words_in
from ssast.runs.wrapping.wrapper import Mode

_ALL = (TRIPOD, PROBAST)
_TITLE = "Checklist for reviewers"
_NOTE = (
    "Each item is answered from the records of the runs, by study.yaml, or open. A sheet that has all answers does not "
    "make a study good: it shows where to look."
)


@Mode
def report(options: Options) -> Path:
    """Write what the records of runs and study.yaml say to each item of a checklist; the path of checklist.html.

    `runs` names the folders, with commas between. With `template` an empty study.yaml is written in their place.
    """
    folder = writable_folder(options.exp_dir)
    if options.template:
        write_template(folder / STUDY_FILE, _ALL)
        say(f"an empty {folder / STUDY_FILE}; fill in what you know, and give it with --study_file")
        return folder / STUDY_FILE
    study = read_study(options.study_file, _ALL) if options.study_file else Study()
    records = read_records(words_in(options.runs))
    chosen = [one for one in _ALL if options.checklist in (one.key, "both")]
    sheets = [fill(checklist, records, study) for checklist in chosen]
    notes = [_NOTE, f"Made from {', '.join(run.name for run in records.runs)}."]
    if warning := records.warning():
        say(warning)
        notes.append(warning)
    with atomic_file(folder / "checklist.md") as unfinished:
        unfinished.write_text(redaction.shown(sheet_markdown(_TITLE, notes, sheets)), encoding="utf-8")
    write_page(folder / "checklist.html", sheet_page(_TITLE, notes, sheets))
    for sheet in sheets:
        say(sheet.summary())
        open_items = [entry.number for entry in sheet.entries if entry.state is Answered.OPEN]
        if open_items:
            say(f"open: {', '.join(open_items)}")
    say(f"the sheets in {folder / 'checklist.md'} and {folder / 'checklist.html'}")
    return folder / "checklist.html"
