"""Drivers of servers are installed only where they are used."""

from importlib.util import find_spec

from .errors import Refused


def need(setting: str, extra: str, *modules: str) -> None:
    """Say how a driver is installed, where it is not. Raises `Refused`.

    `setting` is what asks for the driver, `extra` the word in brackets of our package.
    """
    if any(find_spec(module) is None for module in modules):
        raise Refused(
            f'{setting} is on {extra}, whose driver is not installed: pip install "prelabel-runtime[{extra}]"'
            f' (in a checkout of Prelabel: pip install -e "libs/runtime[{extra}]")'
        )
