"""What there is to learn: one current example per task, the blind hold-out, and the names of sets of examples."""
