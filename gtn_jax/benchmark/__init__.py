"""How fast, beside which peer: workloads in child processes -> rows of one JSON file."""
