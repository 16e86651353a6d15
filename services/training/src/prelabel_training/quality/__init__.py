"""Whether what people submit is good to learn from."""
