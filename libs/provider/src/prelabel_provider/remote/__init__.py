"""Models behind services that are called: what a remote provider is, and the one engine that does the calling."""
