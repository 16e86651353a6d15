"""The learning loop in memory, from the log alone: a check of the one that is spread over services and stores."""
