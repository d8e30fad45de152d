"""The command line: `gtn`."""
