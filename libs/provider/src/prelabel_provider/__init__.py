"""What every provider of models stands on: the Provider class, its worker process, and the one inference handler."""
