"""Floor 1: recordings in, waveforms and filterbanks out; knows no model."""
