"""Training: keeps the examples that models will learn from. Triggers, trainers and the gate come to live here."""
