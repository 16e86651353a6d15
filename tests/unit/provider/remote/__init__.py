"""Calling remote targets."""
