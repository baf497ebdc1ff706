"""Say what a model's answer rests on."""
