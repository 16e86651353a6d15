"""The spaCy provider."""
