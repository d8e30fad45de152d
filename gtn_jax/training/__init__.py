"""Training: a config -> a run folder."""
