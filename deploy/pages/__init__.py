"""The references in docs/, made from the code: one module per page, each with `page() -> str`."""
