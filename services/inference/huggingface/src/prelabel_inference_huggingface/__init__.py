"""The Hugging Face provider."""
