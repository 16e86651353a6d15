"""The trainer role: a training is held by its record, done in a process of its own, and told when it ends."""
