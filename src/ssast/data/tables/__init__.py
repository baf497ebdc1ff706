"""Read the tables of a data set: rows, labels, people, splits and folds."""
