"""`python -m deploy.local up [--h2] [--secure] | stop | wipe | logs | status`: Kafka and a Mongo-wire server, here."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import control
from deploy.local.errors import ServerError
from deploy.local.server import servers_home


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code: 0 done (status: both answer), 1 not (one line on standard error says why)."""
    asked = _parser(environment).parse_args(arguments)
    options = control.Options(
        home=asked.folder.resolve(),
        kafka_port=asked.kafka_port,
        mongo_port=asked.mongo_port,
        backend="h2" if asked.h2 else "memory",
        secure=asked.secure,
    )
    try:
        match asked.what:
            case "up":
                control.up(options, _say)
            case "stop":
                control.stop(options, _say)
            case "wipe":
                control.wipe(options, _say)
            case "logs":
                control.logs(options, asked.lines, _say)
            case _:
                return 0 if control.status(options, _say) else 1
    except (ServerError, OSError) as error:
        print(f"deploy.local: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("what", choices=["up", "stop", "wipe", "logs", "status"])
    parser.add_argument("--h2", action="store_true", help="up: Mongo keeps its data on disk instead of in memory")
    parser.add_argument("--secure", action="store_true", help="Kafka with TLS, users and an access control list")
    parser.add_argument(
        "--kafka-port",
        type=_port,
        default=environment.get("PRELABEL_KAFKA_PORT", str(control.KAFKA_PORT)),
        help="also PRELABEL_KAFKA_PORT; the next port is Kafka's controller's (default %(default)s)",
    )
    parser.add_argument(
        "--mongo-port",
        type=_port,
        default=environment.get("PRELABEL_MONGO_PORT", str(control.MONGO_PORT)),
        help="also PRELABEL_MONGO_PORT (default %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=environment.get("PRELABEL_SERVERS_FOLDER", str(servers_home())),
        help="jars, data, logs; also PRELABEL_SERVERS_FOLDER (default: .servers at the root of the checkout)",
    )
    parser.add_argument("--lines", type=int, default=40, help="logs: how many of each (default %(default)s)")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port < 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to 65534")
    return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
