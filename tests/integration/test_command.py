"""The command, as people call it, against a Prelabel in one process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from prelabel_client import profiles
from prelabel_client.profiles import Connection

from deploy.local.ports import free_port
from tests.rig.cutting_proxy import CuttingProxy
from tests.rig.documents import carried_out
from tests.rig.processes import ALL_IN_ONE, Prelabel

COMMAND = str(Path(sys.executable).with_name("prelabel"))
ROOT = Path(__file__).parents[2]


@dataclass
class Said:
    """What one call said."""

    code: int
    out: str
    err: str

    @property
    def values(self) -> list[Any]:
        """The lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a table, without its head."""
        return [line.split("\t") for line in self.out.splitlines()[1:]]


class Command:
    """Calls the command with its own configuration, in its own folder."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.profiles = folder / "config" / "profiles.json"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PRELABEL_")}
        self.environment = {**kept, "PRELABEL_PROFILES": str(self.profiles), **variables}

    def __call__(self, *words: str, stdin: bytes = b"", code: int | None = 0, **variables: str) -> Said:
        """Run it to its end; `code` is what it must exit with, if that matters."""
        done = subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
        )
        said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in said.err, said.err
        assert code is None or said.code == code, said
        return said

    def started(self, *words: str) -> "subprocess.Popen[str]":
        """Start it as from a terminal, and go on."""
        return subprocess.Popen(
            [COMMAND, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended(process: "subprocess.Popen[str]") -> int:
    """The exit code of one that was told to end. It is gone afterwards, whether or not it listened."""
    try:
        return process.wait(60)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def prelabel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prelabel]:
    """Prelabel with rules and echo."""
    with Prelabel.all_in_one(tmp_path_factory.mktemp("prelabel"), providers=["rules", "echo"]) as running:
        yield running


@pytest.fixture(scope="module")
def command(prelabel: Prelabel, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, with a profile for that Prelabel and a project with labels."""
    made = Command(tmp_path_factory.mktemp("command"))
    key_file = made.folder / "key"
    key_file.write_text(prelabel.key)
    health = f"http://127.0.0.1:{prelabel.process(ALL_IN_ONE).health_port}"
    made("profile", "add", "here", "--address", prelabel.address, "--key-file", "key", "--health", health)
    made("project", "create", "mails", "--labels", "urgent,later")
    return made


@pytest.fixture
def through(prelabel: Prelabel, command: Command) -> Iterator[tuple[CuttingProxy, Command]]:
    """The command, by way of a proxy that cuts."""
    with CuttingProxy("127.0.0.1", prelabel.process(ALL_IN_ONE).port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        made = Command(command.folder, PRELABEL_ADDRESS=address, PRELABEL_KEY=prelabel.key, PRELABEL_PROJECT="mails")
        yield proxy, made


def csv_of(folder: Path, name: str, rows: Sequence[str]) -> str:
    path = folder / name
    path.write_text("\n".join(["text", *rows]) + "\n")
    return name


def stored(command: Command, task: str) -> list[Any]:
    """The annotations of a task, once it is stored: who waits for a prediction is answered before that."""
    said: list[Said] = []

    def there() -> bool:
        said[:] = [command("tasks", task, "--json", code=None)]
        assert said[0].code in (0, 5), said
        return said[0].code == 0

    until(there)
    annotations: list[Any] = said[0].values[0]["annotations"]
    return annotations


# --------------------------------------------------------------------------------------------------- the first path


def test_a_file_is_handed_in_watched_and_exported(command: Command) -> None:
    name = csv_of(command.folder, "first.csv", ['"urgent, please"', "later"])
    said = command("submit", name, "--watch", "--json", "--project", "mails")
    (value,) = said.values
    assert (value["accepted"], value["rejected"], value["progress"]["state"]) == (2, 0, "completed")
    assert value["progress"]["outcomes"] == {"created": 2}
    exported = command("export", "--run", value["run"]).values
    assert [task["data"]["text"] for task in exported] == ["urgent, please", "later"]
    assert exported[0]["predictions"][0]["regions"][0]["labels"] == ["urgent"]


def test_the_same_file_again_adds_nothing(command: Command) -> None:
    name = csv_of(command.folder, "again.csv", [f"urgent {n}" for n in range(5)])
    runs = [command("submit", name, "--watch", "--json").values[0]["run"] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(command("tasks", "--run", runs[0], "--limit", "100", "--json").values) == 5


def test_refused_lines_are_told_by_the_numbers_of_the_file_and_the_others_are_taken(command: Command) -> None:
    lines = [b'{"data": {"text": "later"}}', b"", b"no json", b'{"date": {}}', b'{"data": {"text": "urgent"}}']
    (command.folder / "mixed.jsonl").write_bytes(b"\n".join(lines))
    said = command("submit", "mixed.jsonl", "--watch", code=1)
    assert [word for word in said.err.split("line ")[1:] if word.startswith(("3:", "4:"))]
    assert ["accepted", "2"] in [line.split("\t") for line in said.out.splitlines()]
    (value,) = command("submit", "mixed.jsonl", "--json", code=1).values
    assert [error["line"] for error in value["errors"]] == [3, 4]
    assert [row[0] for row in command("runs", value["run"], "--errors").rows] == ["3", "4"]


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.jsonl", b'{"data": {"text": "urgent"}}\n', []),
        ("a.json", b'[{"data": {"text": "urgent"}}]', []),
        ("b.json", b'["urgent"]', []),
        ("a.csv", b"body;other\nurgent;x\n", ["--text-column", "body"]),
        ("a.txt", b"urgent\n", []),
        ("bare.jsonl", b'{"text": "urgent"}\n', ["--bare"]),
        ("-", b"urgent\n", []),
        ("-", b'{"data": {"text": "urgent"}}', []),
        ("folder", b"urgent", []),
    ],
)
def test_every_kind_of_file_is_read(command: Command, name: str, content: bytes, options: list[str]) -> None:
    if name == "folder":
        (command.folder / "folder").mkdir()
        (command.folder / "folder" / "one.txt").write_bytes(content)
    elif name != "-":
        (command.folder / name).write_bytes(content)
    said = command(
        "submit", name, *options, "--watch", "--json", "--key", f"kinds-{name}-{len(content)}", stdin=content
    )
    (task,) = command("export", "--run", said.values[0]["run"]).values
    assert task["data"]["text"] == "urgent"
    assert task["predictions"][0]["regions"][0]["labels"] == ["urgent"]


def test_a_table_without_the_column_that_is_asked_about_is_refused_before_it_is_sent(command: Command) -> None:
    (command.folder / "other.csv").write_text("body\nurgent\n")
    said = command("submit", "other.csv", code=2)
    assert "--text-column" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.jsonl", b""),
        ("none.json", b"[]"),
        ("cut.json", b'["urgent", "later"'),
        ("cut.csv", b'text\nurgent\n"lat'),
    ],
)
def test_a_file_that_is_empty_or_breaks_off_opens_no_run(command: Command, name: str, content: bytes) -> None:
    before = command("runs", "--json").values
    (command.folder / name).write_bytes(content)
    said = command("submit", name, "--watch", code=2)
    assert said.err.count("\n") == 1
    assert name in said.err
    assert command("runs", "--json").values == before


def test_a_text_is_predicted_at_once(command: Command) -> None:
    assert "urgent" in command("predict", "this is urgent").out.splitlines()[-1]
    (value,) = command("predict", "-", "--json", stdin=b"later\n").values
    assert value["predictions"][0]["regions"][0]["labels"] == ["later"]


def test_an_annotation_in_words_is_taken(command: Command) -> None:
    task = command("predict", "urgent or later", "--json").values[0]["task"]
    command("annotate", task, "--choose", "label=later", "--annotator", "ada")
    command("annotate", task, "--accept", "rules", "--annotator", "bob", code=None)
    annotations: list[Any] = []

    def annotated() -> bool:
        annotations[:] = stored(command, task)
        return bool(annotations)

    until(annotated)
    assert {one["annotator"]: one["regions"][0]["labels"] for one in annotations}["ada"] == ["later"]


def test_annotations_of_a_file_are_taken_and_the_wrong_ones_told(command: Command) -> None:
    task = command("predict", "urgent", "--json").values[0]["task"]
    region = {"kind": "choice", "question": "label", "field": "text", "labels": ["urgent"]}
    lines = [
        {"task": task, "annotator": "ada", "regions": [region]},
        {"task": task, "annotator": "bob", "regions": [{**region, "labels": ["nonsense"]}]},
    ]
    stdin = "".join(json.dumps(line) + "\n" for line in lines).encode()
    said = command("annotate", "--file", "-", stdin=stdin, code=1)
    assert "1 annotation taken, 1 refused" in said.err
    assert "'nonsense' is not a label" in said.err


def test_a_project_goes_out_and_in_again(command: Command) -> None:
    shown = command("project", "show", "mails", "--json").values[0]
    shown["title"] = "Mails of today"
    set_ = command("project", "set", "-", "--json", stdin=json.dumps(shown).encode()).values[0]
    assert (set_["title"], set_["version"]) == ("Mails of today", shown["version"] + 1)
    said = command("project", "set", "-", stdin=json.dumps(shown).encode(), code=2)
    assert "changed since" in said.err


# ------------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nonsense"], 2, "Try `prelabel --help`"),
        (["submit"], 2, "Missing argument"),
        (["tasks", "--nonsense"], 2, "Try `prelabel tasks --help`"),
        (["submit", "nothing.csv"], 2, "cannot be read"),
        (["project", "create", "Not A Slug", "--labels", "a"], 2, "is no id of a project"),
        (["predict", "x", "--project", "nowhere"], 5, "no project 'nowhere'"),
        (["tasks", "nothing"], 5, "no task 'nothing'"),
        (["status", "--profile", "nobody"], 2, "profiles are here"),
        (["annotate", "x"], 2, "no task 'x'"),
        (["key", "create", "x", "--role", "king"], 2, "--role king"),
        (["webhook", "add", "ftp://example.org"], 2, "http"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(command: Command, words: list[str], code: int, said: str) -> None:
    answer = command(*words, code=code)
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("prelabel: ")
    assert not answer.out


def test_who_does_not_answer_is_told_with_exit_code_3(tmp_path: Path) -> None:
    said = Command(tmp_path)(
        "status", code=3, PRELABEL_ADDRESS=f"http://127.0.0.1:{free_port()}", PRELABEL_KEY="pl_some-key"
    )
    assert "is Prelabel running there?" in said.err
    assert said.err.count("\n") == 1


def test_a_wrong_key_is_told_with_exit_code_4(prelabel: Prelabel, tmp_path: Path) -> None:
    said = Command(tmp_path)("status", code=4, PRELABEL_ADDRESS=prelabel.address, PRELABEL_KEY="pl_wrong-key-0000000")
    assert said.err.count("\n") == 1
    assert "pl_wrong" not in said.err


def test_a_reader_that_has_seen_enough_is_no_error(command: Command) -> None:
    csv_of(command.folder, "many.csv", [f"urgent {n}" for n in range(3000)])
    command("submit", "many.csv")
    done = subprocess.run(
        ["sh", "-c", f"{COMMAND} export --json 2>err | head -1; {COMMAND} export | head -1"],
        cwd=command.folder,
        env=command.environment,
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert b"prelabel" not in done.stderr


def test_nothing_in_a_pipe_steers_a_terminal(command: Command) -> None:
    task = command("predict", "urgent \x1b[31m red \x07\x9b2J", "--json").values[0]["task"]
    stored(command, task)
    for words in (["tasks", task], ["tasks"], ["status"], ["predictions", task], ["--help"], ["submit", "--help"]):
        said = command(*words)
        assert not any((ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160 for char in said.out), words


def test_help_loads_nothing_that_takes_its_time(tmp_path: Path) -> None:
    asked = (
        "import sys; from prelabel_client.command.main import application, ending;"
        "code = ending(lambda: application()(['--help'], standalone_mode=False));"
        "slow = {'httpx', 'pydantic', 'rich', 'prelabel_contract', 'asyncio', 'http.server'} & sys.modules.keys();"
        "sys.exit(f'loaded {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "submit" in done.stdout


def test_completion_names_the_commands(command: Command) -> None:
    said = command(_PRELABEL_COMPLETE="complete_bash", COMP_WORDS="prelabel pro", COMP_CWORD="1")
    assert set(said.out.split()) == {"project", "profile", "provider"}


# --------------------------------------------------------------------------------------- what breaks on the way


def test_an_upload_that_breaks_off_is_resumed_and_nothing_is_there_twice(
    through: tuple[CuttingProxy, Command],
) -> None:
    proxy, command = through
    csv_of(command.folder, "large.csv", [f"urgent {n} {'x' * 200}" for n in range(5000)])
    # The first connection asks for the project; that it is kept is what cuts the upload.
    proxy.cut(up=[300_000, 700_000])
    (value,) = command("submit", "large.csv", "--watch", "--json").values
    assert proxy.cuts >= 2
    assert (value["accepted"], value["progress"]["accepted"], value["progress"]["rejected"]) == (5000, 5000, 0)
    tasks = command("export", "--run", value["run"]).values
    assert len({task["data"]["text"] for task in tasks}) == len(tasks) == 5000


def test_standard_input_is_sent_again_after_a_break(through: tuple[CuttingProxy, Command]) -> None:
    proxy, command = through
    lines = "".join(f"later {n} {'y' * 200}\n" for n in range(3000)).encode()
    proxy.cut(up=[200_000, 200_000])  # whichever it comes by: one that was idle for a while is not used again
    (value,) = command("submit", "-", "--format", "txt", "--json", stdin=lines).values
    assert proxy.cuts
    assert value["accepted"] == 3000


def test_a_run_is_followed_over_lost_connections(through: tuple[CuttingProxy, Command]) -> None:
    proxy, command = through
    csv_of(command.folder, "followed.csv", [f"urgent followed {n}" for n in range(2000)])
    proxy.cut(down=[None, 900, 900, 900])
    (value,) = command("submit", "followed.csv", "--watch", "--json").values
    assert value["progress"]["state"] == "completed"
    assert value["progress"]["outcomes"] == {"created": 2000}


def test_a_call_is_repeated_until_somebody_answers(through: tuple[CuttingProxy, Command]) -> None:
    proxy, command = through
    proxy.cut(up=[0, 0, 0])
    assert "mails" in command("project", "list").out
    assert proxy.cuts == 3


def test_an_export_that_breaks_off_leaves_no_file_and_says_so(
    through: tuple[CuttingProxy, Command], command: Command
) -> None:
    proxy, cut = through
    csv_of(command.folder, "exported.csv", [f"urgent exported {n} {'z' * 500}" for n in range(1000)])
    command("submit", "exported.csv", "--watch")
    proxy.cut(down=[100_000] * 9)  # whichever the export comes by: one that was idle for a while is not used again
    said = cut("export", "-o", "out.jsonl", code=3)
    proxy.heal()
    assert "broke off" in said.err
    assert not (command.folder / "out.jsonl").exists()
    assert not list(command.folder.glob(".out*"))
    cut("export", "-o", "out.jsonl")
    assert (command.folder / "out.jsonl").read_text().count("\n") >= 1000


# ------------------------------------------------------------------------------------------------ keys and webhooks


def test_a_key_is_made_used_and_revoked(command: Command, prelabel: Prelabel, tmp_path: Path) -> None:
    said = command("key", "create", "the mail system", "--role", "service", "--project", "mails", "--expires", "1h")
    key = said.out.strip()
    assert key.startswith("pl_")
    other = Command(tmp_path, PRELABEL_ADDRESS=prelabel.address, PRELABEL_KEY=key)
    assert other("predict", "urgent").code == 0
    assert other("key", "list", code=4).err
    rows = command("key", "list").rows
    (found,) = [row for row in rows if row[1] == "the mail system"]
    assert key not in str(rows)
    command("key", "revoke", found[0])
    other("predict", "urgent", code=4)


class _Forwarded(BaseHTTPRequestHandler):
    got: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((dict(self.headers.items()), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_events_are_received_verified_printed_and_forwarded_while_one_develops(command: Command) -> None:
    got: list[Any] = []
    handler = type("Handler", (_Forwarded,), {"got": got})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        listening = command.started("webhook", "listen", "--json", "--type", "prediction.*", "--forward", url)
        try:
            assert listening.stdout is not None
            until(lambda: bool(command("webhook", "list").rows))
            command("predict", "urgent, and forwarded")
            event = json.loads(listening.stdout.readline())
        finally:
            listening.send_signal(signal.SIGINT)
            code = ended(listening)
        server.shutdown()
    assert event["type"] == "prediction.created"
    assert event["data"]["regions"][0]["labels"] == ["urgent"]
    headers = [{name.lower(): value for name, value in sent.items()} for sent, _ in got]
    assert headers[0].keys() >= {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert len({sent["webhook-id"] for sent in headers}) == 1, "one event, though it may be told again"
    assert {json.loads(body)["type"] for _, body in got} == {"prediction.created"}
    assert code == 0
    assert not command("webhook", "list").rows


def test_an_endpoint_may_verify_by_a_public_key_and_get_a_task_s_events_in_order(command: Command) -> None:
    words = ["--signing", "ed25519", "--ordered", "--type", "task.*", "--payload", "thin"]
    (made,) = command("webhook", "add", f"http://127.0.0.1:{free_port()}/", *words, "--json").values
    assert made["public_key"].startswith("whpk_")
    shown = dict(line.split("\t") for line in command("webhook", "show", made["id"]).out.splitlines())
    assert (shown["signing"], shown["ordered"], shown["payload"]) == ("ed25519", "yes", "thin")
    assert command("webhook", "rotate", made["id"]).out.startswith("whpk_")
    assert "not delivered" in command("webhook", "test", made["id"], code=1).out
    command("webhook", "remove", made["id"])
    command("webhook", "show", made["id"], code=5)


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not ready():
        assert time.monotonic() < deadline, "never came"


# ---------------------------------------------------------------------------------------------------------- prelabel up


def test_up_starts_writes_the_profile_and_down_stops(tmp_path: Path) -> None:
    command = Command(tmp_path, PRELABEL_PROVIDERS='["rules"]', PRELABEL_GRACE_SECONDS="2")
    port = str(free_port())
    said = command("up", "--detach", "--no-sample", "--port", port, "--health-port", str(free_port()))
    try:
        assert "prelabel down" in said.err
        assert profiles.read(command.profiles).default == "local"
        assert command.profiles.stat().st_mode & 0o777 == 0o600
        assert "ready" in command("status").out
        again = command("up", "--no-sample")
        assert "runs already" in again.err
        command("project", "create", "mails", "--labels", "urgent")
        assert "urgent" in command("predict", "urgent").out
        assert profiles.read(command.profiles).profiles["local"].project == "mails"
        command("up", "--no-sample")
        assert profiles.read(command.profiles).profiles["local"].project == "mails"
    finally:
        command("down", code=None)
    command("status", code=3, PRELABEL_DEBUG="")
    assert "nothing was started" in command("down", code=2).err


def test_up_in_the_foreground_ends_with_what_it_started(tmp_path: Path) -> None:
    command = Command(tmp_path, PRELABEL_PROVIDERS='["rules"]', PRELABEL_GRACE_SECONDS="2")
    up = command.started("up", "--no-sample", "--port", str(free_port()), "--health-port", str(free_port()))
    try:
        until(command.profiles.exists)
        assert "ready" in command("status").out
    finally:
        up.send_signal(signal.SIGTERM)
        code = ended(up)
    assert code == 0
    command("status", code=3)


def test_up_says_why_it_does_not_start(tmp_path: Path) -> None:
    said = Command(tmp_path, PRELABEL_PORT="none", PRELABEL_SAMPLE="false")("up", "--detach", code=2)
    assert "PRELABEL_PORT" in said.err


def test_a_profile_is_used_by_name(command: Command) -> None:
    before = profiles.read(command.profiles)
    try:
        known = {**before.profiles, "away": Connection("http://127.0.0.1:1", "pl_away-key")}
        profiles.write(profiles.Profiles(known, before.default), command.profiles)
        assert [row[1] for row in command("profile", "list").rows] == ["away", "here"]
        assert "127.0.0.1:1" in command("profile", "show", "--profile", "away").out
    finally:
        profiles.write(before, command.profiles)


# -------------------------------------------------------------------------------------------- providers, docs, doctor


def test_a_new_provider_passes_its_conformance_suite_and_all_in_one_finds_it(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command("provider", "new", "word-finder")
    assert "TIME" in command("provider", "try", "word-finder", "Come today").out
    (said,) = command(
        "provider", "try", "word-finder", "x Ada", "--settings", '{"words": {"ada": "A"}}', "--json"
    ).values
    assert [(one["start"], one["end"], one["labels"]) for one in said["regions"]] == [(2, 5, ["A"])]
    assert "/wrds" in command("provider", "try", "word-finder", "x", "--settings", '{"wrds": 1}', code=2).err
    folder = tmp_path / "word-finder"
    installed = _installed_beside(folder, tmp_path / "site")
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    tested = subprocess.run(
        suite, cwd=folder, env={**os.environ, **installed}, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout
    environment = {
        **installed,
        "PRELABEL_INFERENCE_ENVIRONMENTS": json.dumps({"word-finder": str(tmp_path / "python")}),
    }
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={installed["PYTHONPATH"]} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with Prelabel.all_in_one(tmp_path / "run", providers=["word-finder"], environment=environment) as running:
        command.environment |= {"PRELABEL_ADDRESS": running.address, "PRELABEL_KEY": running.key}
        assert command("provider", "list").rows[0][0] == "word-finder"
        labels = ["--labels", "TIME", "--kind", "span", "--model", "word-finder"]
        command("project", "create", "times", *labels)
        assert "TIME" in command("predict", "Come today", "--project", "times").out


def _installed_beside(folder: Path, site: Path) -> dict[str, str]:
    """Install a package where nothing else is; the variables by which Python finds it there."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(folder)], check=True, capture_output=True)
    return {"PYTHONPATH": str(site)}


def test_a_folder_that_is_there_is_not_written_over(command: Command) -> None:
    (command.folder / "taken").mkdir()
    (command.folder / "taken" / "mine").write_text("keep")
    assert "is there already" in command("provider", "new", "taken", code=2).err
    assert [path.name for path in (command.folder / "taken").iterdir()] == ["mine"]


def test_a_trace_shows_each_hop(command: Command) -> None:
    task = command("predict", "urgent, traced", "--json").values[0]["task"]
    stored(command, task)
    hops: list[str] = []

    def predicted() -> bool:
        hops[:] = [row[2] for row in command("trace", task).rows]
        return "created" in hops

    until(predicted)
    assert hops[:3] == ["submitted", "accepted", "created"]
    (value,) = command("trace", task, "--json").values
    assert value["waiting"] == []


def test_the_doctor_finds_nothing_where_all_is_well(command: Command) -> None:
    findings = {one["check"]: one for one in command("doctor", "--json").values}
    assert {findings[name]["state"] for name in ("address", "key", "clock", "bus and store", "webhooks")} == {"ok"}


def test_the_doctor_says_what_is_wrong_and_what_to_do(command: Command, prelabel: Prelabel, tmp_path: Path) -> None:
    key = command("key", "create", "soon over", "--role", "labeler", "--expires", "1h").out.strip()
    other = Command(tmp_path, PRELABEL_ADDRESS=prelabel.address, PRELABEL_KEY=key)
    findings = {one["check"]: one for one in other("doctor", "--json").values}
    assert findings["key"]["state"] == "look"
    assert "prelabel key create" in findings["key"]["do"]
    assert findings["webhooks"]["state"] == "unknown"
    assert "admin" in findings["webhooks"]["do"]
    wrong = Command(tmp_path, PRELABEL_ADDRESS=prelabel.address, PRELABEL_KEY="pl_wrong-key-0000000")("doctor", code=1)
    assert "wrong   key" in wrong.out


def test_the_doctor_finds_a_provider_that_was_there_and_is_gone(tmp_path: Path) -> None:
    beats = {"PRELABEL_INFERENCE_HEARTBEAT_SECONDS": "1"}
    with Prelabel.all_in_one(tmp_path / "run", providers=["rules", "echo"], environment=beats) as both:
        before = Command(tmp_path, PRELABEL_ADDRESS=both.address, PRELABEL_KEY=both.key)
        before("project", "create", "mails", "--labels", "urgent", "--model", "echo")
        until(lambda: _found(before, "models")[0]["state"] == "ok")
    with Prelabel.all_in_one(tmp_path / "run", providers=["rules"], environment=beats) as one:
        after = Command(tmp_path, PRELABEL_ADDRESS=one.address, PRELABEL_KEY=one.key)
        found: list[Any] = []

        def wrong() -> bool:
            found[:] = _found(after, "models")
            return bool(found[0]["state"] == "wrong")

        until(wrong)
        assert "echo, which was last heard of" in found[0]["said"]
        assert "start prelabel-inference-echo again" in found[0]["do"]
        gone = {"echo": "gone", "rules": "running"}
        until(lambda: {row[0]: row[1] for row in after("provider", "list").rows} == gone)


def _found(command: Command, check: str) -> list[Any]:
    return [one for one in command("doctor", "--json", code=None).values if one["check"] == check]


def test_the_doctor_tells_another_program_at_the_address_from_prelabel(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        said = Command(tmp_path, PRELABEL_ADDRESS=address, PRELABEL_KEY="pl_any-key-000000000")("doctor", code=1)
        server.shutdown()
    assert "not as Prelabel does" in said.out
    assert len(said.out.splitlines()) == 2


def test_a_rebuild_is_watched_to_its_end(command: Command) -> None:
    (value,) = command("rebuild", "--compare", "--json").values
    assert (value["state"], value["mode"]) == ("completed", "compare")
    assert "no rebuild" in command("rebuild", "nothing", code=5).err


def test_the_document_of_the_sdk_goes_as_written(prelabel: Prelabel, tmp_path: Path) -> None:
    variables = {"PRELABEL_ADDRESS": prelabel.address, "PRELABEL_KEY": prelabel.key}
    with carried_out([ROOT / "docs" / "python.md"], tmp_path, variables) as said:
        first, second, third = said.outputs
    assert "1000 accepted, 0 refused" in first
    assert "666 are urgent" in first
    assert "words [('urgent',)]" in first
    assert "there is no project 'nothing'" in first
    assert second.count("['urgent']") == 10
    assert "'tasks': 1011" in third
