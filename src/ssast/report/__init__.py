"""Floor 3: predictions in, scores and pages out."""
