"""A checkpoint is downloaded by one command alone: over https, whole, and with the right sum."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actionrec.engine import download as module
from actionrec.engine.download import download
from actionrec.errors import SecurityError, UserError

CONTENT = bytes(range(256)) * 10_000  # more than one chunk
SUM = hashlib.sha256(CONTENT).hexdigest()
OTHER_SUM = hashlib.sha256(b"").hexdigest()


class Answers(http.server.BaseHTTPRequestHandler):
    """What a server may answer, by the path that it is asked for."""

    def do_GET(self) -> None:
        if self.path.startswith("/missing"):
            self.send_error(404, "Not \x1b[31m here")
            return
        self.send_response(302 if self.path.startswith("/to_") else 200)
        if self.path == "/to_weights":
            self.send_header("Location", "/weights.pkl")
        elif self.path == "/to_http":
            self.send_header("Location", "http://localhost/weights.pkl")
        elif self.path == "/to_file":
            self.send_header("Location", "file:///etc/passwd")
        elif self.path == "/huge.pkl":
            self.send_header("Content-Length", str(1 << 40))
        elif self.path == "/cut.pkl":
            self.send_header("Content-Length", str(len(CONTENT) + 1))
        elif self.path != "/unknown.pkl":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path.endswith(".pkl"):
            self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A key and a certificate for localhost in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("https") / "localhost.pem"
    key = path.with_suffix(".key")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost".split()
        + ["-keyout", key, "-out", path],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture
def server(certificate, monkeypatch):
    """The address of a server on this machine, which Python trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.ThreadingHTTPServer(("localhost", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that hangs up is what some tests are about
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "*")
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/weights.pkl", "/to_weights"])
@pytest.mark.parametrize("sha256", [SUM, SUM.upper(), None])
def test_a_file_is_there_when_its_sum_is_right(server, tmp_path, path, sha256):
    out = tmp_path / "a.pkl"
    assert download(server + path, out, sha256=sha256) == (out, SUM)
    assert out.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("path", "options", "error", "message"),
    [
        ("/weights.pkl", {"sha256": OTHER_SUM}, SecurityError, f"sha256 is {SUM}, not {OTHER_SUM}"),
        ("/weights.pkl", {"sha256": "abc"}, UserError, "--sha256: 'abc' is no sha256"),
        ("/huge.pkl", {}, SecurityError, "1,099,511,627,776 bytes; a checkpoint has at most"),
        ("/cut.pkl", {}, UserError, "ended after 2,560,000 of 2,560,001 bytes; try again"),
        ("/unknown.pkl", {}, UserError, "does not say how large"),
        ("/missing.pkl", {}, UserError, r"answers 404 Not \\x1b\[31m here; check the URL"),
        ("/to_http", {}, SecurityError, "^http://localhost/weights.pkl: is not https"),
        ("/to_file", {}, (SecurityError, UserError), "file:///etc/passwd"),
    ],
)
def test_of_what_is_refused_nothing_is_kept(server, tmp_path, path, options, error, message):
    with pytest.raises(error, match=message):
        download(server + path, tmp_path / "a.pkl", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("http://localhost/a.pkl", SecurityError, "is not https"),
        ("file:///etc/passwd", SecurityError, "is not https"),
        ("/etc/passwd", SecurityError, "is not https"),
        ("https:///a.pkl", SecurityError, "is not https"),
        ("https://[", UserError, "is no URL"),
        ("https://localhost", UserError, "no plain name"),
        ("https://localhost/a/", UserError, "no plain name"),
        ("https://localhost/..%2Fa.pkl", UserError, "no plain name"),
        ("https://localhost/.bashrc", UserError, "no plain name"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_before_anything_is_sent(url, error, message):
    with pytest.raises(error, match=message):
        download(url, sha256=SUM)


def test_a_server_that_nobody_vouches_for_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
        download(f"{server}/weights.pkl", tmp_path / "a.pkl", sha256=SUM)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SEC", 0.1)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("localhost", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/a.pkl"
        with pytest.raises(UserError, match="not downloaded: .*timed out; try again"):
            download(url, tmp_path / "a.pkl", sha256=SUM)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_replaced(tmp_path):
    out = tmp_path / "a.pkl"
    url = "https://localhost:1/a.pkl"  # where nobody answers
    out.write_bytes(CONTENT)
    assert download(url, out, sha256=SUM) == (out, SUM)
    for other in (OTHER_SUM, None):
        with pytest.raises(UserError, match="is there already"):
            download(url, out, sha256=other)
    with pytest.raises(UserError, match="is there already"):
        download(url, tmp_path, sha256=SUM)
    with pytest.raises(UserError, match="not downloaded: No such file"):
        download(url, tmp_path / "no folder" / "a.pkl", sha256=SUM)
    assert out.read_bytes() == CONTENT


def fetch(tree: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, tree / "tools" / "fetch_checkpoint.py", *args]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("out", "following"),
    [
        ("a.pkl", "python tools/convert_checkpoint.py {0}/a.pkl {0}/a.pyth"),
        ("a.pyth", "python tools/run_net.py --cfg FILE.yaml TRAIN.CHECKPOINT_FILE_PATH {0}/a.pyth"),
    ],
)
def test_the_command_says_what_comes_next(server, tree, tmp_path, out, following):
    done = fetch(tree, f"{server}/weights.pkl", tmp_path / out, "--sha256", SUM)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"{tmp_path / out}: 2,560,000 bytes, sha256 {SUM}, as expected"
    assert second == "next: " + following.format(tmp_path)


def test_without_a_sum_nothing_is_fetched_unless_the_user_says_so(server, tree, tmp_path):
    url, out = f"{server}/weights.pkl", tmp_path / "a.pkl"
    done = fetch(tree, url, out)
    assert done.returncode == 2 and not out.exists()
    assert done.stderr.startswith(f"fetch_checkpoint: error: {url}: --sha256 SUM is missing; ")
    done = fetch(tree, url, out, "--trust-first-use")
    assert done.returncode == 0 and f"sha256 {SUM}, NOT compared with anything" in done.stdout


def test_a_wrong_sum_ends_the_command_with_4(server, tree, tmp_path):
    done = fetch(tree, f"{server}/weights.pkl", tmp_path / "a.pkl", "--sha256", OTHER_SUM)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert list(tmp_path.iterdir()) == []
