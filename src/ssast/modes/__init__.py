"""Floor 6: one file a command, each the recipe from top to bottom."""
