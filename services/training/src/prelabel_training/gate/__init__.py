"""Whether a version may serve: scores on the hold-out, their uncertainty, and the verdict."""
