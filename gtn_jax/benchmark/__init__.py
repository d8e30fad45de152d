"""Speed and memory compared with peers: workloads in child processes -> rows of a JSON file."""
