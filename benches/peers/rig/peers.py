"""The peers: how each is started. A new rival is a class with a `start`, and a line in `PEERS`.

What the checks and the table ask of a peer:

- `sealed`: it seals and opens; without, it only passes on.
- `replays` a call whose token was refused; `refuses` an answer that does not open, by a status of its own;
  gives opened answers their `exact_length`.
"""

import os
import re
import urllib.request
from pathlib import Path

from . import machine, scheme, tls

LUA = machine.HERE / "nginx-lua"
PASS = machine.HERE / "pass"
NODE = machine.HERE / "node"
NODE_MODULES = machine.ROOT / "target" / "bench-peers" / "node" / "node_modules"

FILTER = """access_by_lua_block { require('proxied').seal_request() }
            proxy_pass @upstream_scheme@://platform;
            header_filter_by_lua_block { require('proxied').note_header() }
            body_filter_by_lua_block { require('proxied').open_answer() }"""
# Every rival asks for the fastest cipher first.
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"


class Gateway:
    """airudder-gateway. >>> This is the one place that knows its command line and its configuration. <<<"""

    replays = True
    refuses = True
    exact_length = True
    configuration = """\
[outbound]
listen = "127.0.0.1:@port@"
threads = 1

[admin]
listen = "127.0.0.1:@admin_port@"

[log]
format = "json"

[inbox]
path = "inbox/inbox.db"

[[account]]
name = "bench"
upstream = "@upstream@"
@ca@
app_key = { env = "PEER_APP_KEY" }
app_secret = { env = "PEER_APP_SECRET" }
encryption = @encryption@
limit = { rate = "100000/s", concurrency = 10000 }

[[program]]
name = "bench"
api_key = { env = "PEER_PROGRAM_KEY" }
limit = { rate = "100000/s", concurrency = 10000 }
"""
    operation = """
[[operation]]
name = "bench.@kind@_@answer@"
method = "@METHOD@"
path = "/service/cloud/bench/@path@"
"""

    def __init__(self, name, sealed):
        self.name = name
        self.sealed = sealed
        self.admin = None
        self.encryption = '{ scheme = "aes-ecb-zero", key = { env = "PEER_AES_KEY" } }' if sealed else '"off"'

    def binary(self):
        path = Path(os.environ.get("PEER_GATEWAY_BIN", machine.ROOT / "target" / "release" / "airudder-gateway"))
        path = path.resolve()
        if not path.exists():
            raise machine.Trouble(
                f"there is no gateway at {path}: build it with `cargo build --release`, name one in PEER_GATEWAY_BIN, "
                "or measure the rivals alone with `benches/peers/run --peers nginx-lua,node`")
        return path

    def configured(self, **values):
        """The text of a configuration with each @name@ replaced."""
        text = self.configuration
        for path in ("1k", "16k", "1m"):
            for method in ("GET", "POST"):
                for prefix in ("", "plain-"):
                    named = {"kind": method.lower(), "answer": (prefix + path).replace("-", "_"), "METHOD": method, "path": prefix + path}
                    text += replaced(self.operation, named)
        return replaced(text, values)

    def start(self, port, upstream, cpu_set):
        directory = machine.fresh_dir(self.name)
        self.admin = machine.free_port()
        config = directory / "gateway.toml"
        config.write_text(self.configured(
            port=port, admin_port=self.admin, upstream=upstream.url, encryption=self.encryption,
            ca=f'ca = "{upstream.ca}"' if upstream.ca else ""))
        argv = [str(self.binary()), "run", "--config", str(config)]
        child = machine.Child(self.name, argv, directory, cpu_set, machine.CALM_MALLOC | scheme.SECRETS)
        child.await_port(port)
        return child

    def told(self):
        """What became of the calls that its ledger was to note."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as page:
            found = re.findall(r'^airudder_gateway_ledger_calls_total\{outcome="(\w+)"\} (\d+)$', page.read().decode(), re.M)
        return "ledger: " + ", ".join(f"{int(count):,} {outcome}" for outcome, count in found)


class NginxLua:
    """nginx with Lua, OpenSSL by FFI, in one of the shapes that were tried; one worker, or so many."""

    sealed = True

    def __init__(self, name, call="content_by_lua_block { require('gateway').call() }", base64="table",
                 replays=True, refuses=True, exact_length=True, **values):
        self.name = name
        self.replays = replays
        self.refuses = refuses
        self.exact_length = exact_length
        self.values = {"call": call, "base64": base64, "lua": LUA, "gc_pause": 200, "socket_buffer": "128k",
                       "header_buffer": "32k", "workers": 1} | values

    def start(self, port, upstream, cpu_set):
        # The call first, because it has names of its own to be filled in.
        values = self.values | nginx_upstream(upstream) | {
            "port": port, "tls_name": f'"{tls.NAME}"' if upstream.ca else "nil", "lua_tls": f"""\
lua_ssl_trusted_certificate {upstream.ca};
    lua_ssl_verify_depth 2;
    lua_ssl_protocols TLSv1.2 TLSv1.3;
    lua_ssl_conf_command Ciphersuites {SUITES};""" if upstream.ca else ""}
        return machine.nginx(self.name, LUA / "nginx.conf", values, cpu_set, scheme.SECRETS)


class NginxPass:
    """nginx that only passes on: proxy_pass, one worker."""

    name = "nginx-pass"
    sealed = False
    replays = refuses = exact_length = False

    def start(self, port, upstream, cpu_set):
        values = nginx_upstream(upstream) | {"port": port, "token": scheme.FIXED_TOKEN}
        return machine.nginx(self.name, PASS / "nginx.conf", values, cpu_set, {})


class HaproxyPass:
    """HAProxy that only passes on: one thread."""

    name = "haproxy-pass"
    sealed = False
    replays = refuses = exact_length = False

    def start(self, port, upstream, cpu_set):
        secure = f"ssl verify required ca-file {upstream.ca} sni str({tls.NAME}) verifyhost {tls.NAME} ciphersuites {SUITES}"
        values = {"port": port, "platform_port": upstream.port, "token": scheme.FIXED_TOKEN, "tls": secure if upstream.ca else ""}
        directory = machine.fresh_dir(self.name)
        config = directory / "haproxy.cfg"
        config.write_text(machine.fill(PASS / "haproxy.cfg", values))
        child = machine.Child(self.name, [machine.need("haproxy"), "-db", "-f", str(config)], directory, cpu_set, machine.CALM_MALLOC)
        child.await_port(port)
        return child


class Node:
    """node:http, undici, node:crypto: one process."""

    name = "node"
    sealed = True
    replays = refuses = exact_length = True

    def start(self, port, upstream, cpu_set):
        if not (NODE_MODULES / "undici").exists():
            raise machine.Trouble("undici is not installed: run benches/peers/setup")
        argv = [machine.need("node"), str(NODE / "gateway.cjs"), str(port), upstream.url, str(upstream.ca or "-")]
        env = scheme.SECRETS | {"NODE_PATH": str(NODE_MODULES), "NODE_ENV": "production"}
        child = machine.Child(self.name, argv, machine.fresh_dir(self.name), cpu_set, machine.CALM_MALLOC | env)
        child.await_port(port)
        return child


def replaced(text, values):
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def nginx_upstream(upstream):
    """What nginx's own client is told of the platform."""
    secure = f"""\
proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_trusted_certificate {upstream.ca};
    proxy_ssl_name {tls.NAME};
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_ssl_conf_command Ciphersuites {SUITES};"""
    return {"upstream_scheme": "https" if upstream.ca else "http", "platform_port": upstream.port,
            "host": upstream.url.partition("//")[2], "proxy_tls": secure if upstream.ca else ""}


PEERS = {peer.name: peer for peer in (
    Gateway("gateway", sealed=True),
    NginxLua("nginx-lua"),
    Node(),
    Gateway("gateway-pass", sealed=False),
    NginxPass(),
    HaproxyPass(),
    # The shapes below are weaker; they stay so that anybody can see it.
    NginxLua("nginx-lua-openssl64", base64="openssl"),
    NginxLua("nginx-lua-nginx64", base64="nginx"),
    NginxLua("nginx-lua-capture", call="content_by_lua_block { require('proxied').capture() }", replays=False),
    NginxLua("nginx-lua-filter", call=FILTER, replays=False, refuses=False, exact_length=False),
)}
# What `--peers all` means.
MATRIX = list(PEERS)[:6]
