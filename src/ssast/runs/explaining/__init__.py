"""Choose clips and explain what a model makes of them."""
