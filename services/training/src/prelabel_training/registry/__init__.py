"""Versions, which of them serves, and what follows from a change of that."""
