"""The bus: base.py holds the promises, each other file keeps them in its own way."""
