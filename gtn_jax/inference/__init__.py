"""A run folder -> answers."""
