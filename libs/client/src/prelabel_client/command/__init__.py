"""The `prelabel` command. What is slow to import is imported where it is used: help must come at once."""
