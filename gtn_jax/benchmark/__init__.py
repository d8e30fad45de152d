"""Speed and memory beside peers: workloads in child processes -> rows of one JSON file."""
