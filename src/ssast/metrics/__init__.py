"""Floor 3: turn predictions into scores, intervals and curves."""
