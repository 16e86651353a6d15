"""Certificates of an authority of our own, for servers and clients on this machine."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files. `both` holds the key (PKCS 8, as Java wants it) and the certificate."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates; everything it makes lies in its folder, readable by its owner alone.

    In a folder where there was one before, it is that one again.
    """

    def __init__(self, folder: Path, name: str = "Prelabel's own") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert, key = folder / "ca.pem", folder / "ca.key.pem"
        if self.cert.exists() and key.exists():
            self._authority = trustme.CA.from_pem(self.cert.read_bytes(), key.read_bytes())
            return
        self._authority = trustme.CA(organization_name=name)
        _written(self.cert, self._authority.cert_pem.bytes())
        _written(key, self._authority.private_key_pem.bytes())

    def issue(self, name: str, *hosts: str, password: str = "") -> Certificate:
        """A certificate for hosts (names or addresses) whose common name is `name`; `password` encrypts the key."""
        made = self._authority.issue_cert(*(hosts or (f"{name}.prelabel.invalid",)), common_name=name)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        return Certificate(
            _written(self._folder / f"{name}.cert.pem", chain),
            _written(self._folder / f"{name}.key.pem", pem),
            _written(self._folder / f"{name}.pem", pem + chain),
        )


def _written(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
