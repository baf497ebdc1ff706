"""Floor 2: splits and folders in, prepared batches out; where sound and model meet."""
