"""Checks a peer before it is timed: random bodies through a platform that verifies every byte by OpenSSL's command line."""

import base64
import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import machine, scheme, tls

AUTH = "/service/cloud/auth"
OTHER_KEY = "another-key-here"
SIZES = [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 1000, 1024, 4096, 16384, 65535, 70000, 95999, 96000, 96001,
         98287, 98288, 98289, 98304, 131072, 192000, 192001, 288000, 1 << 20]


class CheckingPlatform(ThreadingHTTPServer):
    """Knows what should arrive at each path, and keeps a list of what was wrong with what did."""

    daemon_threads = True

    def __init__(self, rng, identity=None, sealed=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.rng = rng
        self.sealed = sealed
        # A peer that does not log in has this one.
        self.tokens = [scheme.FIXED_TOKEN]
        self.connections = 0
        self.requests = 0
        self.context = None
        if identity:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(identity.cert, identity.key)
        self.expected = {}
        self.faults = []
        self.seen = {}
        self.revoke = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        self.connections += 1
        if self.context:
            # The handshake is made by the connection's own thread, with its first read.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, _, query = self.path.partition("?")
        if path == AUTH:
            return self.login(body)
        if query and self.server.sealed:
            self.server.faults.append(f"{path}: a query arrived with a POST")
        return self.exchange(path, body)

    def do_GET(self):
        self.server.requests += 1
        path, _, query = self.path.partition("?")
        return self.exchange(path, query.encode())

    def login(self, body):
        server = self.server
        pair = json.loads(body)
        if (pair["APPKey"], pair["APPSecret"]) != (scheme.APP_KEY, scheme.APP_SECRET):
            server.faults.append("the login shows another key pair")
        token = base64.b64encode(b"\xfb\xff" + server.rng.randbytes(46)).decode()
        server.tokens.append(token)
        self.answer(200, json.dumps({"data": {"token": token}, "status": "OK", "code": 200}).encode())

    def exchange(self, path, text):
        server = self.server
        if path not in server.expected:
            return self.answer(404, b'{"code":404}')
        plain, (status, answer, headers) = server.expected[path]
        authorizations = self.headers.get_all("Authorization") or []
        if server.revoke and authorizations != [f"Token {server.tokens[-1]}"]:
            return self.answer(401, b'{"code":401,"status":"invalid token","data":null}')
        if server.revoke == "now":
            server.tokens.append("revoked")
            server.revoke = "done"
            return self.answer(401, b'{"code":401,"status":"invalid token","data":null}')
        server.seen[path] = server.seen.get(path, 0) + 1
        wrong = []
        if authorizations != [f"Token {server.tokens[-1]}"]:
            wrong.append("Authorization is not the token")
        if self.headers["X-Gateway-Key"]:
            wrong.append("the program's key reached the platform")
        if server.sealed:
            if self.headers.get_all("Is-Encrypted") != ["1"]:
                wrong.append("Is-Encrypted is not 1")
            if self.headers.get_all("Signed") != [scheme.signed(plain)]:
                wrong.append("Signed is not the digest of the plaintext")
            if text != scheme.seal(plain):
                wrong.append("the ciphertext is not the plaintext's")
        elif text != plain:
            wrong.append("what arrived is not what was sent")
        server.faults += [f"{path}: {fault}" for fault in wrong]
        self.answer(status, answer, headers)


def ask(port, method, target, body=None, timeout=20):
    """One call through a peer: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"X-Gateway-Key": scheme.PROGRAM_KEY}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, target, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def sealed_answer(plain, extra_block=True, key=scheme.AES_KEY, signed=None):
    headers = [("Is-Encrypted", "1"), ("Signed", signed or scheme.signed(plain))]
    return 200, scheme.seal(plain, key, extra_block), headers


def expect_plain(name, peer, got, plain):
    status, headers, content = got
    if status != 200 or content != plain:
        raise machine.Trouble(f"{peer.name}: {name}: status {status}, {len(content)} bytes, "
                              f"{'wrong' if status == 200 else 'refused: ' + content[:200].decode(errors='replace')}")
    if peer.exact_length and headers["Content-Length"] != str(len(plain)):
        raise machine.Trouble(f"{peer.name}: {name}: the opened answer has no exact Content-Length")
    if headers["Is-Encrypted"] or headers["Signed"]:
        raise machine.Trouble(f"{peer.name}: {name}: the opened answer still says that it is sealed")


def check(peer, cpu_set, rng, identity=None):
    """Starts the peer against the checking platform (with an `identity` over TLS) and puts every case to it.

    Gives how many calls were checked.
    """
    platform = CheckingPlatform(rng, identity, peer.sealed)
    port = machine.free_port()
    child = peer.start(port, tls.Upstream(platform.server_address[1], identity and identity.ca), cpu_set)
    calls = 0

    def put(name, method, plain, answer_plain, answered, extra=""):
        nonlocal calls
        calls += 1
        path = f"/service/cloud/bench/check-{calls}{extra}"
        platform.expected[path] = (plain, answered)
        try:
            if method == "GET":
                got = ask(port, "GET", f"{path}?{plain.decode()}")
            else:
                got = ask(port, "POST", path, plain)
        except (OSError, http.client.HTTPException) as error:
            # A cut connection refuses an answer too.
            got = 0, {}, repr(error).encode()
        if platform.faults:
            raise machine.Trouble(f"{peer.name}: {name}: {'; '.join(platform.faults)}")
        if answer_plain is not None:
            expect_plain(name, peer, got, answer_plain)
            if platform.seen.get(path) != 1:
                raise machine.Trouble(f"{peer.name}: {name}: the request arrived {platform.seen.get(path)} times")
        elif 200 <= got[0] < 300 and (peer.refuses or got[2]):
            raise machine.Trouble(f"{peer.name}: {name}: an answer that does not open came through as {got[0]}")

    def answer(plain):
        return sealed_answer(plain, extra_block=rng.random() < 0.5) if peer.sealed else (200, plain, [])

    try:
        await_token(port, platform)
        sizes = SIZES + [rng.randrange(1, 200_000) for _ in range(12)]
        for size in sizes:
            plain = scheme.random_json(size, rng)
            back = scheme.random_json(sizes[rng.randrange(len(sizes))], rng)
            put(f"POST of {size} bytes, answer of {len(back)}", "POST", plain, back, answer(back))
        for size in (1, 15, 16, 17, 100, 1000):
            query = b"TaskID=" + bytes(rng.choice(b"0123456789abcdef") for _ in range(size))
            back = scheme.random_json(sizes[rng.randrange(len(sizes))], rng)
            put(f"GET with a query of {len(query)} bytes", "GET", query, back, answer(back))
        if not peer.sealed:
            return calls
        for size in (100, 300_000):
            plain, back = scheme.random_json(500, rng), scheme.random_json(size, rng)
            put(f"a wrong Signed over {size} bytes", "POST", plain, None, sealed_answer(back, signed="0" * 64))
            put(f"another key over {size} bytes", "POST", plain, None, sealed_answer(back, key=OTHER_KEY))
            zeros = back[:50] + bytes(40) + back[50:]
            put(f"zero bytes inside {size} bytes", "POST", plain, zeros, sealed_answer(zeros))
            status, text, headers = sealed_answer(back)
            put(f"a foreign character in {size} bytes", "POST", plain, None, (status, text[:9] + b"*" + text[10:], headers))
        plain, back = scheme.random_json(700, rng), scheme.random_json(900, rng)
        put("an unsealed answer", "POST", plain, back, (200, back, []))
        if peer.replays:
            for size in (700, 300_000):
                logins = len(platform.tokens)
                platform.revoke = "now"
                plain = scheme.random_json(size, rng)
                put(f"a refused token under {size} bytes", "POST", plain, back, sealed_answer(back))
                if len(platform.tokens) != logins + 2:
                    raise machine.Trouble(f"{peer.name}: a refused token led to {len(platform.tokens) - logins - 1} logins")
        return calls
    finally:
        child.stop()
        platform.shutdown()
        platform.server_close()


def check_strangers(peer, cpu_set, rng, known):
    """A platform whose certificate is of another authority, or for another name, gets no request from the peer."""
    other = tls.identity("stranger")
    for why, shown in (("of another authority", other), ("for another name", tls.identity("misnamed", "example.org"))):
        platform = CheckingPlatform(rng, shown, peer.sealed)
        port = machine.free_port()
        trusted = known.ca if shown is other else shown.ca
        child = peer.start(port, tls.Upstream(platform.server_address[1], trusted), cpu_set)
        try:
            for _ in range(3):
                try:
                    status = ask(port, "POST", "/service/cloud/bench/stranger", b"{}")[0]
                except (OSError, http.client.HTTPException):
                    status = 0
                if platform.requests or 200 <= status < 500:
                    raise machine.Trouble(f"{peer.name}: it spoke to a platform whose certificate is {why} (status {status})")
            if not platform.connections:
                raise machine.Trouble(f"{peer.name}: it never tried a platform whose certificate is {why}")
        finally:
            child.stop()
            platform.shutdown()
            platform.server_close()


def await_token(port, platform):
    """Waits until a call passes: a peer may still be logging in."""
    plain = b'{"ready":true}'
    path = "/service/cloud/bench/ready"
    platform.expected[path] = (plain, sealed_answer(b"{}") if platform.sealed else (200, b"{}", []))
    await_answer(port, "POST", path, plain)


def await_answer(port, method, target, body):
    status = None
    for _ in range(200):
        try:
            status = ask(port, method, target, body)[0]
        except OSError:
            status = None
        if status == 200:
            return
        threading.Event().wait(0.05)
    raise machine.Trouble(f"no call passed within ten seconds: the last answer was {status}")
