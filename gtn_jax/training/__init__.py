"""Batches and a model -> a run folder."""
