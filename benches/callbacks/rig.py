"""What the benches of callbacks share: the gateway as a process, sealed bodies, and one exchange on a connection.

Standard library and OpenSSL's libcrypto, through ctypes; no line of the gateway seals or opens here.
"""

import base64
import ctypes
import ctypes.util
import hashlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GATEWAY = Path(os.environ.get("GATEWAY_BIN", ROOT / "target/release/airudder-gateway")).resolve()
KEY, IV = b"airudderredduria", b"0123456789abcdef"
PATH = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05"

SCHEMES = {
    "aes-ecb-zero": '{ scheme = "aes-ecb-zero", key = { file = "aes_key" } }',
    "aes-cbc-pkcs7": '{ scheme = "aes-cbc-pkcs7", key = { file = "aes_key" }, iv = { fixed = "0123456789abcdef" } }',
}

CONFIG = """
[outbound]
listen = "127.0.0.1:0"
threads = 1
[inbound]
listen = "127.0.0.1:0"
threads = 1
[admin]
listen = "127.0.0.1:0"
[[account]]
name = "main"
upstream = "http://127.0.0.1:9"
app_key = {{ file = "aes_key" }}
app_secret = {{ file = "aes_key" }}
encryption = {encryption}
[[source]]
name = "calls"
path = "{path}"
[inbox]
"""

crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
for name in ("EVP_aes_128_ecb", "EVP_aes_128_cbc"):
    getattr(crypto, name).restype = ctypes.c_void_p


def aes(scheme, data, sealing):
    """Whole blocks through AES-128; padding is the caller's."""
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    kind = crypto.EVP_aes_128_ecb() if scheme == "aes-ecb-zero" else crypto.EVP_aes_128_cbc()
    crypto.EVP_CipherInit_ex(context, ctypes.c_void_p(kind), None, KEY, IV, int(sealing))
    crypto.EVP_CIPHER_CTX_set_padding(context, 0)
    out, length = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int()
    crypto.EVP_CipherUpdate(context, out, ctypes.byref(length), data, len(data))
    crypto.EVP_CIPHER_CTX_free(context)
    return out.raw[: length.value]


def pad(scheme, plain):
    missing = 16 - len(plain) % 16
    return plain + (bytes(missing) if scheme == "aes-ecb-zero" else bytes([missing]) * missing)


def seal(scheme, plain):
    """Text and signature."""
    return base64.b64encode(aes(scheme, pad(scheme, plain), True)), hashlib.sha256(plain).hexdigest()


def request(body, signed, path=PATH):
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nIs-Encrypted: 1\r\n"
    return f"{head}Signed: {signed}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Gateway:
    """The gateway in a folder of its own, on a real disk; `with` ends it."""

    def __init__(self, scheme):
        if not GATEWAY.exists():
            sys.exit(f"there is no {GATEWAY}; build it with cargo build --release, or name one in GATEWAY_BIN")
        place = ROOT / "target/tmp"
        place.mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(dir=place)
        folder = Path(self.folder.name)
        (folder / "aes_key").write_bytes(KEY)
        (folder / "aes_key").chmod(0o600)
        (folder / "gateway.toml").write_text(CONFIG.format(encryption=SCHEMES[scheme], path=PATH))
        self.log = folder / "log"
        argv = [GATEWAY, "run", "--config", folder / "gateway.toml"]
        self.process = subprocess.Popen(argv, cwd=folder, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        while not (found := re.search(r'"inbound":"127\.0\.0\.1:(\d+)"', self.log.read_text())):
            if self.process.poll() is not None:
                sys.exit(self.log.read_text())
            time.sleep(0.01)
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(60)
    return connection


def exchange(connection, bytes_):
    """Sends a request and reads its answer: the bytes, and the nanoseconds from the last byte sent to the answer."""
    connection.sendall(bytes_)
    sent = time.perf_counter_ns()
    answer = connection.recv(65536)
    took = time.perf_counter_ns() - sent
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and len(body) >= int(re.search(rb"(?i)content-length: (\d+)", head)[1]):
            return answer, took
        more = connection.recv(65536)
        if not more:
            sys.exit(f"the connection closed after {answer!r}")
        answer += more


def machine():
    """One line that a table needs to be believed."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    return f"{model[1] if model else 'unknown'}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, commit {commit.strip()}"
