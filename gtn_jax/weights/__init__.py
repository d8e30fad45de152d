"""Someone else's numbers -> our variables: files, names, and the closed-world port."""
