"""Projection: writes what happened into the store, and answers questions about it."""
