"""A model's process: its parent's side, its own side, and the frames between them."""
