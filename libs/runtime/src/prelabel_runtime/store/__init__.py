"""The store: base.py holds the promises and the values, each other file keeps them in its own way."""
