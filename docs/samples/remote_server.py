"""A model behind Prelabel's REST contract, which finds capitalised words: python remote_server.py [PORT]"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "capitals-1"


def predict(task: dict) -> dict:
    text = task["data"].get(task["field"])
    if not isinstance(text, str):
        return {"id": task["id"], "error": {"reason": "input", "detail": "the field is no text"}}
    found = re.finditer(r"\b[A-Z]\w+", text)
    regions = [{"kind": "span", "start": m.start(), "end": m.end(), "labels": ["NAME"], "score": 0.9} for m in found]
    return {"id": task["id"], "regions": regions}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404, {"status": "ok", "version": VERSION})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"predictions": [predict(task) for task in body["tasks"]]} if "tasks" in body else predict(body)
        self.answer(200, {"version": VERSION, **said})

    def answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Handler).serve_forever()
