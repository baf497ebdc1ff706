"""Floor 5: find what a data set hides."""
