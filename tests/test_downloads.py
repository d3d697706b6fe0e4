"""Downloads: whatever a mirror sends, the cache holds whole files or none, and what went wrong is one line."""

from __future__ import annotations

import errno
import gc
import gzip
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from damage import idx

from fastmlp.data import load
from fastmlp.data import mnist as reader
from fastmlp.data.synthetic import load_synthetic

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # urllib leaves sockets to the garbage collector
MOST_BYTES = 1 << 20
PATIENT_SECONDS = 60.0  # that no sound answer takes, however busy the machine


RAW = {
    f"{prefix}-{kind}-ubyte": idx(array)
    for prefix in ("train", "t10k")
    for kind, array in (
        ("images-idx3", np.random.default_rng(0).integers(0, 256, (200, 5, 4))),
        ("labels-idx1", np.arange(200) % 10),
    )
}
FILES = {name: hashlib.sha256(raw).hexdigest() for name, raw in RAW.items()}


class Mirror(ThreadingHTTPServer):
    """A server whose ``behave`` answers for the paths below /bad/; it does so soundly for the others."""

    daemon_threads = True

    def __init__(self, behave: Callable[[Handler, bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave, self.asked, self.reached, self.over = behave, [], threading.Event(), threading.Event()

    def handle_error(self, *_) -> None:
        """The other side has hung up."""

    def url(self, below: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}/{below}/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = gzip.compress(RAW[self.path.rpartition("/")[2].removesuffix(".gz")])
        (self.server.behave if self.path.startswith("/bad/") else Handler.send)(self, content)

    def head(self, code: int = 200, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, content: bytes, length: object = None, code: int = 200) -> None:
        """``content``, of which the header says that it is so long."""
        self.head(code, Content_Length=len(content) if length is None else length)
        self.wfile.write(content)

    def redirect(self, to: str) -> None:
        self.head(302, Location=to, Content_Length=0)

    def stall(self, content: bytes) -> None:
        """Half of it, and then nothing until the test is over."""
        self.head(Content_Length=len(content))
        self.wfile.write(content[: len(content) // 2])
        self.server.reached.set()
        self.server.over.wait(PATIENT_SECONDS)

    def drip(self, content: bytes) -> None:
        """A byte at a time, often enough for every time-out."""
        self.head()
        for _ in range(3000):
            self.wfile.write(b"\x1f")
            if self.server.over.wait(0.01):
                break


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def endless(handler: Handler, content: bytes) -> None:
    """A hundred times what is read of a file at most; ``reached`` when the other side hangs up before."""
    handler.head()
    try:
        for _ in range(100):
            handler.wfile.write(bytes(MOST_BYTES))
    except OSError:
        handler.server.reached.set()


# What a mirror may do: (how it answers, what the line says of it).
MISDEEDS: dict[str, tuple[Callable[[Handler, bytes], None], str]] = {
    "truncated": (lambda h, content: h.send(content[:-900], len(content)), "is damaged"),
    "truncated without a length": (lambda h, content: (h.head(), h.wfile.write(content[:-900])), "is damaged"),
    "a checksum cut off": (lambda h, content: h.send(content[:-8]), "is damaged .*the gzip stream ends early"),
    "a flipped bit": (lambda h, content: h.send(flipped(content)), "is damaged|is not the file expected"),
    "another file": (lambda h, content: h.send(gzip.compress(b"other")), "is not the file expected .SHA-256 differs"),
    "a page": (lambda h, content: h.send(b"<html>Please log in</html>"), "is not the file expected"),
    "nothing": (lambda h, content: h.send(b""), "is not the file expected"),
    "no answer": (lambda h, content: h.connection.close(), "Remote end closed connection|reset|closed"),
    "an answer that is not HTTP": (lambda h, content: h.wfile.write(b"\x16\x03\x01\0\n" * 9), "is damaged"),
    "404": (lambda h, content: h.send_error(404), "HTTP Error 404: Not Found"),
    "500": (lambda h, content: h.send(content, code=500), "HTTP Error 500: Internal Server Error"),
    "a status with an escape": (
        lambda h, content: h.send_response(503, "\x1b[2J") or h.end_headers(), "HTTP Error 503"
    ),
    "a short length": (lambda h, content: h.send(content, len(content) - 9), "is damaged"),
    "a long length": (lambda h, content: h.send(content[:-9], len(content) + 10**12), "is damaged"),
    "a negative length": (lambda h, content: h.send(content[:-9], -5), "is damaged"),
    "chunks of no length": (
        lambda h, content: (h.head(Transfer_Encoding="chunked"), h.wfile.write(b"zz\r\n" + content)),
        "is damaged",
    ),
    "a header without end": (lambda h, content: h.wfile.write(b"HTTP/1.0 200 OK\r\nA: " + b"x" * 10**6), "is damaged"),
    "headers without end": (
        lambda h, content: h.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"A: x\r\n" * 10**4), "is damaged"
    ),
    "without end": (endless, "is damaged|is not the file expected"),
    "a bomb": (lambda h, content: h.send(gzip.compress(bytes(16 * MOST_BYTES))), "is not the file expected"),
    "to itself": (lambda h, content: h.redirect(h.path), "HTTP Error 302: .*infinite loop"),
    "from place to place": (lambda h, content: h.redirect("/bad/x" + h.path[4:]), "infinite loop|HTTP Error 302"),
    "to a file": (lambda h, content: h.redirect("file:///etc/passwd"), "file:///etc/passwd' is not allowed"),
    "to data": (lambda h, content: h.redirect("data:,x"), "is not allowed"),
    "to no host": (lambda h, content: h.redirect("http://[/"), "is damaged .*Invalid IPv6"),
    "to a port that is none": (lambda h, content: h.redirect("http://127.0.0.1:x/"), "is damaged .*nonnumeric port"),
    "to a name that is none": (lambda h, content: h.redirect(f"http://{'a' * 70}.{'b' * 70}/"), "."),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def no_sockets_left():
    """For the garbage collector to find during another test."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def own_cache(own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers proxies and certificates
    monkeypatch.setattr(reader, "_FILES", FILES)
    monkeypatch.setattr(reader, "_TIMEOUT_SECONDS", PATIENT_SECONDS)
    monkeypatch.setattr(reader, "_LARGEST", MOST_BYTES)
    monkeypatch.setattr(reader, "load_synthetic", lambda seed: load_synthetic(0, 50, 10))
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def serve(monkeypatch):
    """Start a server that behaves so, the mirrors being directories of it; returns it."""
    running = []

    def start(behave=Handler.send, mirrors=("bad",), scheme="http"):
        server = Mirror(behave)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        monkeypatch.setattr(reader, "MIRRORS", tuple(server.url(below, scheme) for below in mirrors))
        return server

    yield start
    for server, thread in running:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fetched():
    """(the name of the data set that ``mnist`` gives, the lines said)."""

    def fetch() -> tuple[str, list[str]]:
        lines: list[str] = []
        return load("mnist", say=lines.append).name, lines

    return fetch


def require_whole(cache: Path) -> None:
    """The four files and nothing else."""
    assert {path.name: gzip.decompress(path.read_bytes()) for path in cache.iterdir()} == {
        f"{name}.gz": raw for name, raw in RAW.items()
    }


def require_fallback(result: tuple[str, list[str]], cache: Path) -> str:
    """Synthetic digits, an empty cache; the one line that says why."""
    name, lines = result
    assert name == "synthetic"
    assert not cache.is_dir() or not list(cache.iterdir())
    assert lines[0] == "downloading MNIST (11 MB, once)"
    (line,) = lines[1:]
    assert line.startswith("MNIST cannot be downloaded (")
    assert line.endswith("); using built-in synthetic digits. For the real ones set FASTMLP_DATA")
    assert line.isprintable()
    assert len(line) < 600
    return line


@pytest.mark.parametrize("name", MISDEEDS)
def test_what_a_mirror_can_do_is_one_line_and_nothing_is_kept(serve, fetched, own_cache, name):
    behave, message = MISDEEDS[name]
    server = serve(behave)
    line = require_fallback(fetched(), own_cache)
    assert re.search(message, line), line
    assert server.asked


@pytest.mark.parametrize("name", MISDEEDS)
def test_the_next_mirror_takes_its_place(serve, fetched, own_cache, name):
    serve(MISDEEDS[name][0], mirrors=("bad", "good"))
    assert fetched() == ("mnist", ["downloading MNIST (11 MB, once)"])
    require_whole(own_cache)


def test_a_mirror_that_is_not_there(fetched, own_cache, monkeypatch):
    with socket.socket() as bound:  # to a port that nobody listens on
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(reader, "MIRRORS", (f"http://127.0.0.1:{bound.getsockname()[1]}/",))
        assert "refused" in require_fallback(fetched(), own_cache)


def test_a_redirection_to_another_host_is_followed(serve, fetched, own_cache):
    """What comes is known by its digest, wherever it lies."""
    other = serve()
    here = serve(
        lambda h, content: h.redirect(f"http://localhost:{other.server_port}/good/{h.path.rpartition('/')[2]}")
    )
    assert fetched()[0] == "mnist"
    assert len(other.asked) == len(here.asked) == 4
    require_whole(own_cache)


def test_a_file_without_end_is_not_waited_for(serve, fetched, own_cache):
    server = serve(endless)
    require_fallback(fetched(), own_cache)
    assert server.reached.wait(PATIENT_SECONDS)


def test_a_mirror_that_stalls_is_given_up(serve, fetched, own_cache, monkeypatch):
    monkeypatch.setattr(reader, "_TIMEOUT_SECONDS", 0.3)
    serve(Handler.stall, mirrors=("bad", "bad"))
    assert "timed out" in require_fallback(fetched(), own_cache)


def test_a_mirror_that_drips_is_given_up(serve, fetched, own_cache, monkeypatch):
    monkeypatch.setattr(reader, "_TIMEOUT_SECONDS", 0.5)
    serve(Handler.drip)
    line = require_fallback(fetched(), own_cache)
    assert "comes at less than 10 kB/s" in line or "timed out" in line  # where the machine stood still for so long


# -- the cache -------------------------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_made_is_named_and_nothing_is_asked_for(serve, fetched, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "file"))
    server = serve()
    assert f"Not a directory: '{tmp_path / 'file' / 'mnist'}'" in require_fallback(fetched(), tmp_path / "file")
    assert not server.asked


def test_a_read_only_cache(serve, fetched, own_cache):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    own_cache.mkdir(parents=True, mode=0o555)
    server = serve()
    assert "Permission denied" in require_fallback(fetched(), own_cache)
    assert len(server.asked) == 1


def test_a_full_disk_is_no_fault_of_the_mirrors(serve, fetched, own_cache, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    server = serve(mirrors=("good", "good"))
    assert "No space left on device" in require_fallback(fetched(), own_cache)
    assert len(server.asked) == 1  # the second would not help


# -- processes -------------------------------------------------------------------------------------------------------

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests are a shell's background job
from fastmlp.cli import run_command
from fastmlp.data import load, mnist
mnist.MIRRORS, mnist._FILES, mnist._TIMEOUT_SECONDS = {mirrors!r}, {files!r}, {seconds!r}
def command(argv):
    print(load("mnist", say=lambda line: print(line, file=sys.stderr)).name)
    return 0
sys.exit(run_command("train", command, None))
"""


@pytest.fixture
def another():
    """Start a process that loads MNIST."""
    running = []

    def start() -> subprocess.Popen[str]:
        code = PROGRAM.format(mirrors=reader.MIRRORS, files=FILES, seconds=PATIENT_SECONDS)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_two_processes_at_once(serve, another, own_cache):
    meeting = threading.Barrier(2)

    def together(handler, content):
        meeting.wait(PATIENT_SECONDS)  # both have asked for the first file before either has it
        handler.server.behave = Handler.send
        handler.send(content)

    server = serve(together)
    processes = [another(), another()]
    for process in processes:
        out, err = process.communicate(timeout=PATIENT_SECONDS)
        assert (out, err) == ("mnist\n", "downloading MNIST (11 MB, once)\n")
    assert server.asked.count("/bad/train-images-idx3-ubyte.gz") == 2
    require_whole(own_cache)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_download_that_is_ended_is_taken_up_again(serve, another, fetched, own_cache, how):
    def third_stalls(handler, content):
        (Handler.stall if len(handler.server.asked) == 3 else Handler.send)(handler, content)

    server = serve(third_stalls)
    process = another()
    assert server.reached.wait(PATIENT_SECONDS)
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENT_SECONDS)
    assert out == ""
    if how == signal.SIGINT:
        assert (process.returncode, err.splitlines()[1:]) == (130, ["fastmlp train: interrupted"])
    names = [f"{name}.gz" for name in FILES]
    assert sorted(path.name for path in own_cache.iterdir()) == sorted(names[:2])
    (own_cache / f".{names[2]}-abcdefgh.tmp").write_bytes(b"half")  # as if killed while it wrote
    server.asked[:] = [None] * 3
    assert fetched()[0] == "mnist"
    assert server.asked[3:] == [f"/bad/{name}" for name in names[2:]]
    require_whole(own_cache)


# -- HTTPS -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate for a name; a function of the name that returns the file of it and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")

    def make(name: str) -> Path:
        file = tmp_path / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mirror"]
        request += ["-addext", f"subjectAltName={name}", "-keyout", file, "-out", tmp_path / "certificate only.pem"]
        made = subprocess.run(request, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"this openssl cannot make a certificate: {made.stderr[-200:]}")
        with open(file, "a") as both:
            both.write((tmp_path / "certificate only.pem").read_text())
        return file

    return make


@pytest.mark.parametrize(
    ("name", "trusted", "message"),
    [
        ("IP:127.0.0.1", False, "certificate verify failed: self.signed certificate"),
        ("DNS:elsewhere.example", True, "certificate verify failed: IP address mismatch"),
        ("IP:127.0.0.1", True, None),
    ],
)
def test_only_a_certificate_that_is_trusted_and_of_the_mirror_is_accepted(
    serve, fetched, own_cache, certificate, monkeypatch, name, trusted, message
):
    file = certificate(name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    server = serve(scheme="https")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    if message is None:
        assert fetched()[0] == "mnist"
        require_whole(own_cache)
    else:
        assert re.search(message, require_fallback(fetched(), own_cache))
        assert not server.asked


def test_the_mirrors_are_https():
    assert all(mirror.startswith("https://") for mirror in reader.MIRRORS)
