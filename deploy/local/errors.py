"""What can go wrong with a server on this machine; each message is one line that says what would help."""


class ServerError(Exception):
    """A server cannot be had or did not do what was asked."""


class ToolMissing(ServerError):
    """A program that the servers need is not installed."""


class PortTaken(ServerError):
    """Something else listens where the server should."""


class NotReady(ServerError):
    """The server ended, or did not answer in time."""
