"""Show how a model does in places that it was not developed in."""
