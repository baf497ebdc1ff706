"""Floor 4: show results as pages, figures, tables and sentences."""
