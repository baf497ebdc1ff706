"""Floor 4: train a model on batches, and let it answer."""
