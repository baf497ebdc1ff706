"""Floor 1: turn recordings into waveforms and filterbanks; know no model."""
