"""Floor 1: turn filterbanks into hidden states, losses and logits; know no sound files."""
