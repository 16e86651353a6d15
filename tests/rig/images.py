"""Images for the servers of tests: pulled where a registry answers, else built from deploy/local."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from deploy.local.errors import ServerError

_KAFKA = "apache/kafka:4.1.1"
_MONGO = "mongo:8.0"
_BASE = "prelabel-base:bookworm"
_LOCAL_FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "local"
_REGISTRY_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class Images:
    """Names of images that the engine has. pulled: they are the official ones, and the registry answers."""

    kafka: str
    mongo: str
    pulled: bool


def images(environment: Mapping[str, str]) -> Images:
    """The images that `PRELABEL_TEST_IMAGES` asks for: "pull", "build", or "auto" (pull where possible).

    Raises ServerError. Building needs root and debootstrap the first time, for a base image; minutes then, a
    second later.
    """
    how = environment.get("PRELABEL_TEST_IMAGES", "auto")
    if how not in ("auto", "pull", "build"):
        raise ServerError(f"PRELABEL_TEST_IMAGES is {how!r}; it can be auto, pull or build")
    if how == "pull" or (how == "auto" and _registry_answers()):
        return Images(kafka=_pulled(_KAFKA), mongo=_pulled(_MONGO), pulled=True)
    _make_base()
    return Images(kafka=_built("kafka"), mongo=_built("mongo"), pulled=False)


def _registry_answers() -> bool:
    client = docker.from_env(timeout=_REGISTRY_TIMEOUT_S)
    try:
        client.images.get_registry_data(_KAFKA)
    except (DockerException, OSError):
        return False
    finally:
        client.close()
    return True


def _pulled(name: str) -> str:
    client = docker.from_env(timeout=600)
    try:
        client.images.pull(name)
    except (DockerException, OSError) as error:
        raise ServerError(f"image {name} cannot be pulled: {error}") from error
    finally:
        client.close()
    return name


def _make_base() -> None:
    script = _LOCAL_FOLDER / "base_image"
    done = subprocess.run([str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["nothing said"])[-1]
        raise ServerError(f"{script.name} could not make an image to build on: {last}")


def _built(name: str) -> str:
    tag = f"prelabel-test-{name}:local"
    client = docker.from_env(timeout=900)
    try:
        # The host's network: package registries may be reachable only the way the host reaches them.
        client.images.build(
            path=str(_LOCAL_FOLDER / name), tag=tag, buildargs={"BASE": _BASE}, network_mode="host", rm=True
        )
    except (DockerException, OSError) as error:
        raise ServerError(f"image {tag} cannot be built: {error}") from error
    finally:
        client.close()
    return tag
