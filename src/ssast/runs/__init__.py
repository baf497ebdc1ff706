"""Floor 5: hold what several modes share."""
