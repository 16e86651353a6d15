"""Which open tasks people are asked next, and who holds which."""
