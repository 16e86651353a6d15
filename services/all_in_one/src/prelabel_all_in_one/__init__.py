"""Every service in one process on SQLite: what a newcomer runs."""
