"""Floor 5: give a model to other toolkits."""
