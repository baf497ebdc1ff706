"""Floor 1: filterbanks in, hidden states, losses and logits out; knows no sound files."""
