"""The process: signals, memory, compiled programs, and other processes."""
