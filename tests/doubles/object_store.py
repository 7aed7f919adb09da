"""A small S3-style store over HTTP: objects whole or in parts, and reads. It keeps what it is given in memory.

It speaks as much of the protocol as a client needs to put and get objects (Amazon S3 API reference: PutObject,
CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, GetObject), refuses requests that are
not signed by the key that it knows, and can be told to fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KEY, SECRET = "AKIDSYNTHETIC", "not-to-be-seen-anywhere"


@dataclass
class Bucket:
    """What was put, by path (/bucket/key), and how."""

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    content_types: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)  # begun in parts, and not completed
    put_in_parts: int = 0
    refuse: bool = False  # every request is answered with 403 from now on
    open: threading.Event = field(
        default_factory=threading.Event
    )  # while it is not set, nothing that is put is answered

    def environment(self) -> dict[str, str]:
        """What a client needs to know, by the names that every S3 client reads."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
        }


@contextlib.contextmanager
def object_store() -> Iterator[Bucket]:
    """A store on a free loopback port for as long as a block lasts."""
    bucket = Bucket()
    bucket.open.set()
    numbers = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *values: object) -> None:
            pass

        def _begin(self) -> tuple[str, dict[str, list[str]], bytes] | None:
            """Path, query and body; None if the request is refused."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            signed = f"AWS4-HMAC-SHA256 Credential={KEY}/" in self.headers.get("Authorization", "")
            claimed = self.headers.get("x-amz-content-sha256", "")
            whole = claimed == "UNSIGNED-PAYLOAD" or claimed == hashlib.sha256(body).hexdigest()
            if bucket.refuse or not signed or not whole:
                self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
                return None
            return unquote(parts.path), parse_qs(parts.query, keep_blank_values=True), body

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            if (request := self._begin()) is None:
                return
            path, query, body = request
            bucket.open.wait()
            if "uploadId" in query:
                bucket.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            else:
                bucket.objects[path] = body
                bucket.content_types[path] = self.headers.get("Content-Type", "")
            self._answer(200, ETag=_tag(body))

        def do_POST(self) -> None:
            if (request := self._begin()) is None:
                return None
            path, query, body = request
            if "uploads" in query:
                upload = f"upload-{next(numbers)}"
                bucket.uploads[upload] = {}
                bucket.content_types[path] = self.headers.get("Content-Type", "")
                text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                return self._answer(200, text.encode())
            parts = bucket.uploads.pop(query["uploadId"][0])
            wanted = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
            bucket.objects[path] = b"".join(parts[number] for number in wanted)
            bucket.put_in_parts += 1
            tag = _tag(bucket.objects[path])
            text = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
            return self._answer(200, text.encode())

        def do_DELETE(self) -> None:
            if (request := self._begin()) is not None:
                bucket.uploads.pop(request[1].get("uploadId", [""])[0], None)
                self._answer(204)

        def do_GET(self) -> None:
            if (request := self._begin()) is None:
                return None
            found = bucket.objects.get(request[0])
            if found is None:
                return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return self._answer(200, found, ETag=_tag(found), Last_Modified="Mon, 02 Nov 2026 10:00:00 GMT")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    bucket.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bucket
    finally:
        bucket.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
