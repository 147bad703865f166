"""The platform on the timed path: an nginx that answers fixed texts at once, sealed and plain, and checks nothing."""

import base64

from . import machine, scheme, tls

TEMPLATE = machine.HERE / "platform" / "nginx.conf"
LOGIN = '{"data":{"token":"%s"},"status":"OK","code":200}'
PATH = "/service/cloud/bench/"
# In front of the name of an answer that is not sealed.
PLAIN = "plain-"
# nginx refuses longer words in its configuration.
WORD = 3000


def in_words(text):
    """Pieces of at most WORD bytes, cut between characters."""
    words, word, size = [], [], 0
    for char in text:
        wide = len(char.encode())
        if size + wide > WORD:
            words.append("".join(word))
            word, size = [], 0
        word.append(char)
        size += wide
    return [*words, "".join(word)]


class Platform:
    """Started once for a run; listens without and with TLS. `plain` holds what each path's answer opens to."""

    def __init__(self, sizes, cpu_set, rng):
        known = tls.identity("certificates")
        port, tls_port = machine.free_port(), machine.free_port()
        self.bare = tls.Upstream(port)
        self.secure = tls.Upstream(tls_port, known.ca)
        self.plain = {}
        maps, loads, answers = [], [], []
        files = machine.fresh_dir("answers")
        for name, size in sizes.items():
            plain = scheme.random_json(size, rng)
            self.plain[name] = self.plain[PLAIN + name] = plain
            marks = f"add_header Is-Encrypted 1;\n            add_header Signed {scheme.signed(plain)};"
            for path, text, headers in ((name, scheme.seal(plain).decode(), marks), (PLAIN + name, plain.decode(), "")):
                if size <= 64 * 1024:
                    words = in_words(text)
                    of = path.replace("-", "_")
                    for i, word in enumerate(words):
                        maps.append(f"    map $host $a_{of}_{i} {{ default '{word}'; }}")
                    joined = "".join(f"${{a_{of}_{i}}}" for i in range(len(words)))
                    answer = f'return 200 "{joined}";'
                else:
                    file = files / path
                    file.write_text(text)
                    loads.append(f'answers["{path}"] = assert(io.open("{file}", "rb")):read("*a")')
                    answer = f'content_by_lua_block {{ answer("{path}") }}'
                answers.append(f"        location = {PATH}{path} {{\n            {headers}\n            {answer}\n        }}")
        token = base64.b64encode(rng.randbytes(48)).decode()
        values = {"port": port, "tls_port": tls_port, "cert": known.cert, "key": known.key, "maps": "\n".join(maps), "loads": "; ".join(loads),
                  "answers": "\n".join(answers), "login": LOGIN % token}
        self.child = machine.nginx("platform", TEMPLATE, values, cpu_set, {})
