"""A stand-in for Grafana, not Grafana: the few endpoints that publishing uses, over real HTTP.

No Grafana server can be had in the tests. The answers follow Grafana's documented HTTP API (folders
and dashboards, version 11): paths, bodies, status codes. It knows no permissions but the token's
role, no history and no search, and it stores a board as it is sent.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
ANSWER_NOT_FOUND: Answer = (404, {"message": "Not found"})


@dataclass
class GrafanaStandIn:
    """What it holds, and what it was asked.

    Attributes:
        editors: tokens that may write.
        viewers: tokens that may only read.
        prefix: the path under which it answers, for example ``/grafana``.
        folders: uid to title.
        boards: uid to board, with the id and the version that it gave.
        places: uid of a board to uid of its folder; empty for the root.
        provisioned: uids of boards that come from files and cannot be saved.
        asked: method and path of each request.
        broken: answers with a page of HTML, as a proxy in front of it would.
    """

    editors: set[str] = field(default_factory=lambda: {"editor-token"})
    viewers: set[str] = field(default_factory=lambda: {"viewer-token"})
    prefix: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    provisioned: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    broken: bool = False
    url: str = ""

    @property
    def writes(self) -> list[str]:
        """Paths of the requests that were to change something."""
        return [path for method, path in self.asked if method != "GET"]

    def answer(self, method: str, path: str, token: str, body: Any) -> Answer:
        """Return the status and body of the answer to one request."""
        self.asked.append((method, path))
        if token not in self.editors | self.viewers:
            return 401, {"message": "Invalid API key", "messageId": "api-key.invalid"}
        if method == "POST" and token not in self.editors:
            return 403, {
                "message": "You'll need additional permissions to perform this action. "
                "Permissions needed: dashboards:write",
                "title": "Access denied",
            }
        if not path.startswith(f"{self.prefix}/api/"):
            return ANSWER_NOT_FOUND
        match (method, path.removeprefix(f"{self.prefix}/api/").split("/")):
            case ("GET", ["folders"]):
                return 200, [self._folder(uid) for uid in self.folders]
            case ("POST", ["folders"]):
                return self._create_folder(body)
            case ("GET", ["dashboards", "uid", uid]):
                return self._board(uid)
            case ("POST", ["dashboards", "db"]):
                return self._save(body)
        return ANSWER_NOT_FOUND

    def _folder(self, uid: str) -> dict[str, Any]:
        return {"id": list(self.folders).index(uid) + 1, "uid": uid, "title": self.folders[uid]}

    def _create_folder(self, body: dict[str, Any]) -> Answer:
        if body["title"] in self.folders.values():
            message = "a folder with the same name already exists in the current location"
            return 409, {"message": message}
        uid = body.get("uid") or f"folder-{len(self.folders) + 1}"
        self.folders[uid] = body["title"]
        return 200, self._folder(uid)

    def _board(self, uid: str) -> Answer:
        if uid not in self.boards:
            return 404, {"message": "Dashboard not found"}
        meta = {
            "type": "db",
            "slug": uid,
            "version": self.boards[uid]["version"],
            "folderUid": self.places[uid],
            "folderTitle": self.folders.get(self.places[uid], "General"),
            "provisioned": uid in self.provisioned,
        }
        return 200, {"meta": meta, "dashboard": copy.deepcopy(self.boards[uid])}

    def _save(self, body: dict[str, Any]) -> Answer:
        board, folder = body["dashboard"], body.get("folderUid", "")
        uid, title = board["uid"], board["title"]
        if not title:
            return 400, {"message": "Dashboard title cannot be empty"}
        if folder and folder not in self.folders:
            return 404, {"message": "folder not found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        stored = self.boards.get(uid)
        if (
            stored is not None
            and not body["overwrite"]
            and board.get("version") != (stored["version"])
        ):
            message = "The dashboard has been changed by someone else"
            return 412, {"status": "version-mismatch", "message": message}
        if not body["overwrite"] and self._holds_another(uid, title, folder):
            message = "A dashboard with the same name in the folder already exists"
            return 412, {"status": "name-exists", "message": message}
        version = 1 if stored is None else stored["version"] + 1
        number = len(self.boards) + 1 if stored is None else stored["id"]
        self.boards[uid] = {**copy.deepcopy(board), "id": number, "version": version}
        self.places[uid] = folder
        self.messages.append(body.get("message", ""))
        return 200, {"id": number, "uid": uid, "status": "success", "version": version}

    def _holds_another(self, uid: str, title: str, folder: str) -> bool:
        return any(
            other != uid and self.places[other] == folder and board["title"] == title
            for other, board in self.boards.items()
        )


@contextmanager
def grafana_stand_in(**state: Any) -> Iterator[GrafanaStandIn]:
    """Run the stand-in on a free loopback port until the block ends."""
    grafana = GrafanaStandIn(**state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(grafana))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    grafana.url = f"http://127.0.0.1:{server.server_port}{grafana.prefix}"
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(grafana: GrafanaStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._reply(json.loads(self.rfile.read(length)))

        def _reply(self, body: Any) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = grafana.answer(self.command, self.path, token, body)
            html = b"<html>a message from the proxy</html>"
            sent = html if grafana.broken else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if grafana.broken else "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: what was asked is kept."""

    return Handler
