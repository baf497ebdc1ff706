"""Hold a model in another place against what it was in development: inputs, scores, measures, recalibration."""
