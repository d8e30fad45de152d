"""Use of trained runs: evaluation, prediction, export."""
