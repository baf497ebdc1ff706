"""Surround every mode with what each run needs, and look at what a run finds around it."""
