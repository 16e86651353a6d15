"""Where Prelabel is and with which key: arguments, the environment, or a profile in the user's configuration folder.

The file is the user's only (mode 0600 in a folder of mode 0700): one that others can read is refused, not used.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import Refused

ADDRESS, KEY, PROFILE = "PRELABEL_ADDRESS", "PRELABEL_KEY", "PRELABEL_PROFILE"
LOCAL = "local"
"""The profile that `prelabel up` writes."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An address and a key."""

    address: str
    key: str
    health: str | None = None
    """Where /readyz and /metrics are, if that is known."""
    project: str | None = None
    """The project that is meant where none is named."""
    profile: str | None = None
    """The profile that it is from."""

    def __repr__(self) -> str:
        return f"Connection({self.address!r}, key=…, profile={self.profile!r})"


@dataclass(frozen=True, slots=True)
class Profiles:
    """What the file says."""

    profiles: Mapping[str, Connection]
    default: str | None = None


def connection(address: str | None = None, key: str | None = None, profile: str | None = None) -> Connection:
    """What to talk to. Arguments go before a named profile, that before the environment, that before the default
    profile. A profile's key goes to that profile's address only. Raises `Refused`.
    """
    if address is not None and key is not None:
        return _checked(Connection(address, key))
    given = Connection(address or "", key or "")
    if profile is None:
        given = replace(
            given, address=given.address or os.environ.get(ADDRESS, ""), key=given.key or os.environ.get(KEY, "")
        )
        if given.address and given.key:
            return _checked(given)
    found = _profile(profile or os.environ.get(PROFILE))
    if found is None:
        raise Refused(_nothing_known(given))
    if given.address and _bare(given.address) != _bare(found.address):
        raise Refused(f"no key for {given.address}: set {KEY}, or add a profile by `prelabel profile add`")
    return _checked(replace(found, key=given.key or found.key))


def _nothing_known(given: Connection) -> str:
    if given.address:
        return f"no key for {given.address}: set {KEY}, or add a profile by `prelabel profile add`"
    return (
        "no Prelabel is known: start one by `prelabel up`, add a profile by `prelabel profile add`, "
        f"or set {ADDRESS} and {KEY}"
    )


def _profile(name: str | None) -> Connection | None:
    known = read()
    if name is None:
        name = known.default
        return known.profiles.get(name) if name is not None else None
    if name not in known.profiles:
        listed = ", ".join(sorted(known.profiles)) or "(none)"
        raise Refused(f"there is no profile {name!r}; profiles are {listed}")
    return known.profiles[name]


def _checked(found: Connection) -> Connection:
    if not _is_address(found.address):
        raise Refused(f"the address {found.address!r} is none: write http://HOST:PORT or https://HOST")
    if not found.key.isascii() or not found.key.isprintable() or not found.key:
        raise Refused("the key is none: it is one word of ASCII characters")
    return replace(found, address=_bare(found.address))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises for one that there cannot be
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text


def _bare(address: str) -> str:
    return address.rstrip("/")


# ---------------------------------------------------------------------------------------------------------- the file


def file() -> Path:
    """Where profiles are kept: PRELABEL_PROFILES, or the user's configuration folder."""
    if named := os.environ.get("PRELABEL_PROFILES"):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("prelabel", appauthor=False) / "profiles.json"


def read(path: Path | None = None) -> Profiles:
    """All profiles; none if there is no file. Raises `Refused` for a file that others can read, or that is broken."""
    path = path or file()
    try:
        with path.open("rb") as opened:
            _refuse_shared(path, os.fstat(opened.fileno()))
            found = json.loads(opened.read())
        profiles = {str(name): _connection(str(name), one) for name, one in found["profiles"].items()}
        default = found.get("default")
    except FileNotFoundError:
        return Profiles({})
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(f"{path} holds no profiles: mend it, or remove it") from None
    return Profiles(profiles, str(default) if default is not None else None)


def _connection(name: str, value: Mapping[str, Any]) -> Connection:
    more = {field: str(value[field]) for field in ("health", "project") if value.get(field) is not None}
    return Connection(str(value["address"]), str(value["key"]), profile=name, **more)


def _refuse_shared(path: Path, about: os.stat_result) -> None:
    if os.name != "posix":
        return
    if about.st_uid != os.geteuid():
        raise Refused(f"{path} is not yours: it holds keys, and is not used")
    if stat.S_IMODE(about.st_mode) & 0o077:
        raise Refused(f"{path} can be read by others and holds keys: run `chmod 600 {path}`, and change the keys")


def write(profiles: Profiles, path: Path | None = None) -> Path:
    """Replace the file as a whole; whoever reads it meanwhile sees the old or the new one."""
    path = path or file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = {
        "default": profiles.default,
        "profiles": {
            name: {field: value for field, value in asdict(one).items() if value is not None and field != "profile"}
            for name, one in profiles.profiles.items()
        },
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as opened:
            json.dump(said, opened, indent=2)
            opened.write("\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def keep(name: str, connection: Connection, *, default: bool) -> Path:
    """Add or change one profile. `default`: it is the one that is used from now on."""
    known = read()
    chosen = name if default or known.default is None else known.default
    return write(Profiles({**known.profiles, name: replace(connection, profile=name)}, chosen))


def drop(name: str) -> None:
    """Remove one profile. Raises `Refused` if there is none of that name."""
    known = read()
    if name not in known.profiles:
        raise Refused(f"there is no profile {name!r}; profiles are {', '.join(sorted(known.profiles)) or '(none)'}")
    left = {other: one for other, one in known.profiles.items() if other != name}
    write(Profiles(left, known.default if known.default != name else next(iter(sorted(left)), None)))
