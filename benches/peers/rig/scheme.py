"""The documented scheme, by Python and the OpenSSL command line: what every peer is checked against."""

import base64
import hashlib
import subprocess

AES_KEY = "airudderredduria"
APP_KEY = "bench-app-key"
APP_SECRET = "bench-app-secret"

# What the calling program shows; a peer that knows no programs takes it away.
PROGRAM_KEY = "bench-program-key-0001"
# The token of peers that do not log in.
FIXED_TOKEN = base64.b64encode(b"a token that stands in a configuration, as long as others").decode()

SECRETS = {"PEER_AES_KEY": AES_KEY, "PEER_APP_KEY": APP_KEY, "PEER_APP_SECRET": APP_SECRET, "PEER_PROGRAM_KEY": PROGRAM_KEY}


def aes(data, direction, key=AES_KEY):
    """AES-128-ECB of whole blocks; `direction` is -e or -d."""
    return subprocess.run(
        ["openssl", "enc", direction, "-aes-128-ecb", "-nopad", "-K", key.encode().hex()],
        input=data, capture_output=True, check=True).stdout


def signed(plain):
    return hashlib.sha256(plain).hexdigest()


def seal(plain, key=AES_KEY, extra_block=True):
    """The text for `plain`. Without `extra_block`, plaintext of whole blocks gets no padding at all."""
    zeros = 16 - len(plain) % 16
    if zeros == 16 and not extra_block:
        zeros = 0
    return base64.b64encode(aes(plain + bytes(zeros), "-e", key))


def open_text(text):
    """The padded plaintext of a text; raises ValueError for one that is not base64."""
    return aes(base64.b64decode(text, validate=True), "-d")


def random_json(size, rng):
    """JSON of exactly `size` bytes that looks like the platform's envelope: the id of a task, names, numbers and text."""
    head, tail = b'{"data":{"taskId":"%032x","rows":["' % rng.getrandbits(128), b'"]},"status":"OK","code":200}'
    room = size - len(head) - len(tail)
    if room < 0:
        return bytes(rng.choice(b"0123456789") for _ in range(size))
    rows = b""
    while True:
        row = f'{rng.getrandbits(64):016x}","陈小明","+62{rng.randrange(10**10):010d}","{rng.random():.12f}","'.encode()
        if len(rows) + len(row) > room:
            return head + rows + b"x" * (room - len(rows)) + tail
        rows += row
