"""Fill the checklists of reviewers from the records of runs and from what a person wrote down."""
