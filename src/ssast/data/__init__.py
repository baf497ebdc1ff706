"""Floor 2: turn tables and folders into batches; here sound and model meet."""
