"""Analysis of finished runs: comparisons, gates, reports."""
