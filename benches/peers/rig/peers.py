"""The peers: how each is started. A new rival is a class with a `start`, and a line in `PEERS`."""

import os
from pathlib import Path

from . import machine, scheme

FILTER = """access_by_lua_block { require('proxied').seal_request() }
            proxy_pass http://platform;
            header_filter_by_lua_block { require('proxied').note_header() }
            body_filter_by_lua_block { require('proxied').open_answer() }"""
LUA = machine.HERE / "nginx-lua"


class Gateway:
    """airudder-gateway. >>> This is the one place that knows its command line and its configuration. <<<"""

    name = "gateway"
    # What the checks may ask of it.
    replays = True  # a call whose token was refused
    refuses = True  # an answer that does not open, by a status of its own
    exact_length = True  # on opened answers
    configuration = """\
[outbound]
listen = "127.0.0.1:@port@"
threads = 1

[admin]
listen = "127.0.0.1:@admin_port@"

[log]
format = "json"

[[account]]
name = "bench"
upstream = "http://127.0.0.1:@platform_port@"
app_key = { env = "PEER_APP_KEY" }
app_secret = { env = "PEER_APP_SECRET" }
encryption = { scheme = "aes-ecb-zero", key = { env = "PEER_AES_KEY" } }
"""

    def binary(self):
        path = Path(os.environ.get("PEER_GATEWAY_BIN", machine.ROOT / "target" / "release" / "airudder-gateway"))
        path = path.resolve()
        if not path.exists():
            raise machine.Trouble(
                f"there is no gateway at {path}: build it with `cargo build --release`, name one in PEER_GATEWAY_BIN, "
                "or measure the rival alone with `benches/peers/run --peers nginx-lua`")
        return path

    def start(self, port, platform_port, cpu_set):
        directory = machine.fresh_dir(self.name)
        text = self.configuration
        for key, value in {"port": port, "admin_port": machine.free_port(), "platform_port": platform_port}.items():
            text = text.replace(f"@{key}@", str(value))
        config = directory / "gateway.toml"
        config.write_text(text)
        argv = [str(self.binary()), "run", "--config", str(config)]
        child = machine.Child(self.name, argv, directory, cpu_set, machine.CALM_MALLOC | scheme.SECRETS)
        child.await_port(port)
        return child


class NginxLua:
    """nginx with Lua, OpenSSL by FFI, one worker, in one of the shapes that were tried."""

    def __init__(self, name, call="content_by_lua_block { require('gateway').call() }", base64="table",
                 replays=True, refuses=True, exact_length=True, **values):
        self.name = name
        self.replays = replays
        self.refuses = refuses
        self.exact_length = exact_length
        self.values = {"call": call, "base64": base64, "lua": LUA, "gc_pause": 200, "socket_buffer": "128k",
                       "header_buffer": "32k"} | values

    def start(self, port, platform_port, cpu_set):
        values = {}
        for key, value in self.values.items():
            values[key] = str(value).replace("@platform_port@", str(platform_port))
        values |= {"port": port, "platform_port": platform_port}
        return machine.nginx(self.name, LUA / "nginx.conf", values, cpu_set, scheme.SECRETS)


PEERS = {peer.name: peer for peer in (
    Gateway(),
    NginxLua("nginx-lua"),
    # The shapes below are weaker; they stay so that anybody can see it.
    NginxLua("nginx-lua-openssl64", base64="openssl"),
    NginxLua("nginx-lua-nginx64", base64="nginx"),
    NginxLua("nginx-lua-capture", call="content_by_lua_block { require('proxied').capture() }", replays=False),
    NginxLua("nginx-lua-filter", call=FILTER, replays=False, refuses=False, exact_length=False),
)}
