"""Floor 4: options in; the modes, each of which runs one job from recordings to results, out."""
