"""What every service's HTTP shares: problems, keys, limits, the application around the routes."""
