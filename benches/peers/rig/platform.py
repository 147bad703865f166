"""The platform on the timed path: an nginx that answers fixed sealed texts at once and checks nothing."""

import base64

from . import machine, scheme

TEMPLATE = machine.HERE / "platform" / "nginx.conf"
LOGIN = '{"data":{"token":"%s"},"status":"OK","code":200}'
PATH = "/service/cloud/bench/"
# nginx refuses longer words in its configuration.
WORD = 3000


class Platform:
    """Started once for a run. `plain` holds what each path's answer opens to."""

    def __init__(self, sizes, cpu_set, rng):
        self.port = machine.free_port()
        self.plain = {}
        maps, loads, answers = [], [], []
        files = machine.fresh_dir("answers")
        for name, size in sizes.items():
            plain = scheme.random_json(size, rng)
            text = scheme.seal(plain).decode()
            self.plain[name] = plain
            headers = f"add_header Is-Encrypted 1;\n            add_header Signed {scheme.signed(plain)};"
            if size <= 64 * 1024:
                words = [text[i:i + WORD] for i in range(0, len(text), WORD)]
                for i, word in enumerate(words):
                    maps.append(f'    map $host $a{name}_{i} {{ default "{word}"; }}')
                joined = "".join(f"${{a{name}_{i}}}" for i in range(len(words)))
                answer = f'return 200 "{joined}";'
            else:
                file = files / name
                file.write_text(text)
                loads.append(f'answers["{name}"] = assert(io.open("{file}", "rb")):read("*a")')
                answer = f'content_by_lua_block {{ answer("{name}") }}'
            answers.append(f"        location = {PATH}{name} {{\n            {headers}\n            {answer}\n        }}")
        token = base64.b64encode(rng.randbytes(48)).decode()
        values = {"port": self.port, "maps": "\n".join(maps), "loads": "; ".join(loads),
                  "answers": "\n".join(answers), "login": LOGIN % token}
        self.child = machine.nginx("platform", TEMPLATE, values, cpu_set, {})
