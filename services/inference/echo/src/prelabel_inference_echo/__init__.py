"""The echo provider."""
