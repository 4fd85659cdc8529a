"""A hub of our own on the loopback interface, for the real client: whole, slow to answer, or broken on demand."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


class SmallHub:
    """Repositories as {repository: {revision: {file: bytes}}}, and what goes wrong with them.

    breaks_off: how many bytes of a file are sent before the connection ends. gated: repositories that ask for
    terms. status: answered to everything. endless: files that are sent for ever; `began` and `cut` say when one
    was asked for, and when its reader had enough. gone: files that are listed and no longer there. requested:
    names of files that were sent, and from which byte, in order.
    """

    def __init__(self, repositories: dict[str, dict[str, dict[str, bytes]]]) -> None:
        self.repositories = repositories
        self.breaks_off: dict[str, int] = {}
        self.gated: set[str] = set()
        self.status = 200
        self.endless: set[str] = set()
        self.began = Event()
        self.cut = Event()
        self.gone: set[str] = set()
        self.requested: list[tuple[str, int]] = []
        self.endpoint = ""

    def commit(self, repository: str, revision: str) -> str:
        files = self.repositories[repository][revision]
        digest = hashlib.sha1()
        for name, content in sorted(files.items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


@contextmanager
def serving(hub: SmallHub) -> Iterator[SmallHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", headers.get("Content_Length", str(len(body))))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, b"{}", X_Error_Code=code, X_Error_Message=code)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if hub.status != 200:
                self.answer(hub.status, b"{}")
                return
            path = self.path.split("?")[0]
            if found := re.fullmatch(r"/api/models/(.+)/(revision|refs)/?(.*)", path):
                repository, what, revision = found[1], found[2], found[3]
            elif found := re.fullmatch(r"/(.+)/resolve/([0-9a-f]{40})/(.+)", path):
                self.send_file(found[1], found[2], found[3])
                return
            else:
                self.answer(404)
                return
            if repository not in hub.repositories:
                self.refuse(404, "RepoNotFound")
            elif repository in hub.gated:
                self.refuse(403, "GatedRepo")
            elif what == "refs":
                names = sorted(hub.repositories[repository])
                branches = [
                    {"name": n, "ref": f"refs/heads/{n}", "targetCommit": hub.commit(repository, n)}
                    for n in names
                ]
                self.answer(200, json.dumps({"branches": branches, "tags": [], "converts": []}).encode())
            elif revision not in hub.repositories[repository]:
                self.refuse(404, "RevisionNotFound")
            else:
                files = hub.repositories[repository][revision]
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                sha = hub.commit(repository, revision)
                body = {"id": repository, "modelId": repository, "sha": sha, "siblings": siblings}
                self.answer(200, json.dumps(body).encode())

        def send_file(self, repository: str, commit: str, name: str) -> None:
            if name in hub.gone:
                self.refuse(404, "EntryNotFound")
                return
            [content] = {
                files[name]
                for revision, files in hub.repositories[repository].items()
                if hub.commit(repository, revision) == commit
            }
            start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])  # type: ignore[index]
            if self.command == "GET":
                hub.requested.append((name, start))
            etag = hashlib.sha256(content).hexdigest()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            length = 2 * 10**10 if name in hub.endless else len(content) - start
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET" and name in hub.endless:
                self.send_for_ever()
            elif self.command == "GET":
                stop = hub.breaks_off.get(name, len(content))
                self.wfile.write(content[start : max(stop, start)])
                if stop < len(content):
                    self.close_connection = True

        def send_for_ever(self) -> None:
            hub.began.set()
            try:
                while True:
                    self.wfile.write(b"x" * 2**20)
            except OSError:
                self.close_connection = True
                hub.cut.set()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
