"""The platform's address as a peer is given it, and the certificates of the run: a CA, and what it signed for a name."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import machine

# The name that the platform's certificate is for, and under which peers know it.
NAME = "localhost"


@dataclass(frozen=True)
class Upstream:
    """Where a peer finds the platform. With `ca`: over TLS, verified against that authority and the name."""

    port: int
    ca: Path | None = None

    @property
    def url(self):
        return f"https://{NAME}:{self.port}" if self.ca else f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Identity:
    """PEM files: the authority, the certificate that it signed, its key."""

    ca: Path
    cert: Path
    key: Path


def openssl(*argv):
    done = subprocess.run([machine.need("openssl"), *map(str, argv)], capture_output=True, text=True)
    if done.returncode:
        raise machine.Trouble(f"openssl {argv[0]}: {done.stderr.strip()}")


def identity(label, name=NAME):
    """A new authority and a certificate for `name`, of P-256."""
    at = machine.fresh_dir(label)
    of = Identity(at / "ca.pem", at / "cert.pem", at / "key.pem")
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *fresh, "-keyout", at / "ca.key", "-out", of.ca, "-days", 2, "-subj", f"/CN=bench authority {label}")
    openssl("req", *fresh, "-keyout", of.key, "-out", at / "request", "-subj", f"/CN={name}")
    (at / "names").write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=critical,CA:FALSE\n")
    openssl("x509", "-req", "-in", at / "request", "-CA", of.ca, "-CAkey", at / "ca.key", "-CAcreateserial", "-days", 2,
            "-extfile", at / "names", "-out", of.cert)
    return of
