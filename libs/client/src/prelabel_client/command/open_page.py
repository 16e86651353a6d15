"""`prelabel open`: the overview page in a browser."""

import os
import sys
from typing import Annotated

import typer

from .options import Json, Profile
from .output import Out
from .session import session


def open_page(
    browser: Annotated[bool | None, typer.Option(help="Start the browser; else where there is a screen.")] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Open the overview page in a browser.

    Makes an address that works once, for ten minutes, and lets a browser in for 12 hours.

    \b
    Example:
      prelabel open
      prelabel open --no-browser
    """
    out = Out(json=json)
    with session(profile) as client:
        link = client.create_link()
        address = f"{client.connection.address}{link.url}"
        if json:
            out.value({"url": address, "expires_ms": link.expires_ms})
        else:
            out.line(address)
        if _wanted(browser):
            import webbrowser

            webbrowser.open(address)


def _wanted(browser: bool | None) -> bool:
    if browser is not None:
        return browser
    screen = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return screen and sys.stdout.isatty()
