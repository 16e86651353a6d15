"""The remote provider: models behind any HTTP service, called by Prelabel's REST contract or by templates."""
