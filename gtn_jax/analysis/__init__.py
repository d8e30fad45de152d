"""Run folders -> understanding."""
