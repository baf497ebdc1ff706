"""Floor 6: one file a command, which reads from top to bottom as the steps that it takes."""
