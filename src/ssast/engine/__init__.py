"""Floor 3: a model and batches in, trained weights and saved outputs out."""
