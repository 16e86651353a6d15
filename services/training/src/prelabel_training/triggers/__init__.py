"""When a training starts, and what it is given."""
