"""The first start: a key, a model trained on this machine, a sample project that uses it."""

import base64
import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prelabel_client import AsyncClient
from prelabel_runtime.errors import Refused
from prelabel_runtime.http.credentials import new_credential
from prelabel_runtime.run import Runtime

from .sample.areas import area_rules
from .sample.corpus import Corpus, load_corpus
from .settings import SAMPLE, WEBHOOK_KEYS, AllInOneSettings

RULES_FILE = "areas.json"
"""In the sample model's folder; the last thing that is written there."""
ADDRESS_FILE = "address"
KEY_FILE = "api-key"
_NAMES = ("MODULE", "TYPE", "EXCEPTION", "FUNCTION")


def refuse_second(settings: AllInOneSettings) -> None:
    """Say where the one is that runs with this folder already. Raises `Refused`.

    The log's lock would stop the second too, but after it had failed on a port, which misleads.
    """
    try:
        with (settings.data / "log.db.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        folder = _shown(settings.data)
        raise Refused(
            f"one runs with the folder {folder} already ({folder}/{ADDRESS_FILE} has its address): "
            "use it, stop it, or name another folder by PRELABEL_DATA"
        ) from None
    except OSError:
        return


def make_key(settings: AllInOneSettings) -> None:
    """Make a key unless there is one, of the form that scanners find, readable by its owner only."""
    if settings.api_key is not None or settings.api_key_file != settings.data / KEY_FILE:
        return
    _write_once(settings.api_key_file, f"{new_credential(secrets.token_bytes).key}\n")


def make_webhook_key(settings: AllInOneSettings) -> None:
    """Make the key that encrypts endpoints' secrets, unless there is one."""
    _write_once(settings.data / WEBHOOK_KEYS, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)


def train_sample(
    folder: Path, seconds: float, *, python: str, tell: Callable[[str], None], examples: int | None = None
) -> dict[str, Any]:
    """Train the sample model in a process of its own; returns its report. `examples`: at most so many are shown.

    Raises `Refused`.
    """
    command = [python, "-m", "prelabel_all_in_one.sample.train", str(folder), "--seconds", str(seconds), "--seed", "1"]
    command += [] if examples is None else ["--examples", str(examples)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        report: dict[str, Any] = {}
        for line in child.stdout or ():
            said = json.loads(line)
            if "report" in said:
                report = said["report"]
            else:
                tell(f"training a model on this machine {said['fraction']:>4.0%}  {said['message']}")
    if child.returncode != 0:
        raise Refused(
            f"the sample model could not be trained (exit code {child.returncode}); "
            "PRELABEL_SAMPLE=false starts without it"
        )
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    return report


def sample_rules(corpus: Corpus) -> dict[str, Any]:
    """Settings for the `rules` provider: words that tell what a passage is about, as sure as the training part says."""
    return dict(area_rules((passage.text, passage.module) for passage in corpus.training))


def sample_project(model_folder: Path | None, rules: dict[str, Any]) -> dict[str, Any]:
    """Names in the standard library's documentation, and what a passage is about."""
    areas = sorted({str(rule["label"]) for rule in rules["rules"]})
    models: list[dict[str, Any]] = [
        {"name": "areas", "provider": "rules", "questions": ["area"], "settings": rules, "threshold": 0.3}
    ]
    if model_folder is not None:
        settings = {"path": str(model_folder), "emit": ["ner"]}
        models.insert(0, {"name": "names", "provider": "spacy", "questions": ["names"], "settings": settings})
    return {
        "title": "Python's own documentation",
        "label_set": {
            "questions": [
                {"name": "names", "kind": "span", "field": "text", "labels": list(_NAMES)},
                {"name": "area", "kind": "choice", "field": "text", "labels": areas, "multiple": False},
            ]
        },
        "models": models,
    }


def prepare(settings: AllInOneSettings) -> None:
    """Everything that must be there before the services start."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_key(settings)
    make_webhook_key(settings)
    folder = settings.data / "sample-model"
    if settings.sample and not (folder / RULES_FILE).exists():
        report = train_sample(folder, settings.sample_seconds, python=sys.executable, tell=_progress)
        (folder / RULES_FILE).write_text(json.dumps(sample_rules(load_corpus(seed=1))))
        _progress("")
        sys.stderr.write(f"trained in {report['seconds']:.0f} s, held-out F1 {report['overall']['f1']:.2f}\n")


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line[:100]:100}\r")
        sys.stderr.flush()


async def welcome(runtime: Runtime) -> None:
    """Set up the sample project, say where everything is, and leave the address where `prelabel up` looks for it."""
    settings = runtime.settings
    assert isinstance(settings, AllInOneSettings)  # noqa: S101 - this process's own
    address = f"http://{settings.host}:{settings.port}"
    async with AsyncClient(address, settings.key()) as client:
        if settings.sample:
            folder = settings.data / "sample-model"
            rules = json.loads((folder / RULES_FILE).read_text())
            await client.put_project(SAMPLE, sample_project(folder, rules))
        if sys.stdout.isatty():
            way_in = _for_a_person(address, (await client.create_link()).url, settings)
        else:
            way_in = _for_a_log(address, settings)
    sys.stdout.write(_banner(address, way_in, settings))
    sys.stdout.flush()
    (settings.data / ADDRESS_FILE).write_text(address)


def _banner(address: str, way_in: str, settings: AllInOneSettings) -> str:
    return f"""
Prelabel runs at {address}
{way_in}
The command `prelabel` talks to it, and so does any HTTP client that sends "Authorization: Bearer KEY"; the API is
described at {address}/openapi.json. Ctrl-C stops it; what was accepted is kept in {_shown(settings.data)}.
Webhooks may call this machine (localhost), since everything runs on it; elsewhere they may not.

"""


def _for_a_person(address: str, link: str, settings: AllInOneSettings) -> str:
    """Key and page, for who sits at the terminal."""
    return f"""\
key               {settings.key()}
page              {address}{link}
                  opens the overview in a browser: once, within ten minutes; `prelabel open` makes another
"""


def _for_a_log(address: str, settings: AllInOneSettings) -> str:
    """The same without secrets: others may read a log."""
    key = (
        "as set by PRELABEL_API_KEY"
        if settings.api_key is not None
        else f"in {_shown(Path(str(settings.api_key_file)))}"
    )
    return f"""\
key               {key}
page              {address}/ by the address that `prelabel open` prints
"""


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
