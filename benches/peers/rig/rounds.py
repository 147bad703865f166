"""Times peers in turn on the same work, A B A B, and keeps what each round cost."""

import json
import subprocess
from dataclasses import dataclass
from statistics import median

from . import check, machine, scheme
from .platform import PATH, PLAIN

CONNECTIONS = 32
# Seconds of a round in which a call has to end.
LONGEST = 20


@dataclass(frozen=True)
class Case:
    """One kind of call. A new one is a line in `CASES`; the platform makes the answers it names."""

    name: str
    method: str
    sent: int
    answer: str
    secure: bool = False


SIZES = {"1k": 1024, "16k": 16 * 1024, "1m": 1 << 20}
KINDS = [
    ("POST 1 KiB", "POST", 1024, "1k"),
    ("POST 16 KiB", "POST", 16 * 1024, "1k"),
    ("POST 1 MiB", "POST", 1 << 20, "1k"),
    ("GET 1 KiB", "GET", 64, "1k"),
    ("GET 16 KiB", "GET", 64, "16k"),
    ("GET 1 MiB", "GET", 64, "1m"),
]
CASES = [
    *(Case(*kind) for kind in KINDS),
    Case("POST 16 KiB both ways", "POST", 16 * 1024, "16k"),
    *(Case(name + " over TLS", *rest, secure=True) for name, *rest in KINDS),
]


@dataclass(frozen=True)
class Round:
    """What one peer did in one round."""

    micros: float
    rate: float
    p50: float
    p99: float
    p999: float


@dataclass(frozen=True)
class Result:
    """All rounds of one peer on one case."""

    rounds: list
    peak_mib: float

    def mid(self, field):
        return median(getattr(r, field) for r in self.rounds)


class Load:
    """A case made ready for wrk: the target, and the body in a file."""

    def __init__(self, case, platform, cpu_set, rng):
        self.case = case
        self.cpu_set = cpu_set
        self.plain = platform.plain[case.answer]
        self.query = ""
        self.body, self.file = None, "-"
        self.dir = machine.fresh_dir("load")
        if case.method == "GET":
            self.query = "?TaskID=" + rng.randbytes((case.sent - 7) // 2 + 1).hex()[:case.sent - 7]
        else:
            self.body = scheme.random_json(case.sent, rng)
            path = self.dir / "body"
            path.write_bytes(self.body)
            self.file = str(path)

    def target(self, peer):
        return PATH + ("" if peer.sealed else PLAIN) + self.case.answer + self.query

    def verify(self, peer, port):
        """One call through the timed instance gives exactly the plaintext."""
        got = check.ask(port, self.case.method, self.target(peer), self.body)
        check.expect_plain(self.case.name, peer, got, self.plain)

    def run(self, peer, child, port, seconds, keys=(scheme.PROGRAM_KEY,)):
        """A round; `keys` are load.lua's last arguments."""
        argv = [machine.need("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s",
                "-s", str(machine.HERE / "load.lua"), f"http://127.0.0.1:{port}{self.target(peer)}", "--",
                self.case.method, self.file, *keys]
        before = child.cpu_seconds()
        wrk = machine.Child("wrk", argv, self.dir, self.cpu_set, {})
        try:
            wrk.process.wait(seconds + 30)
        except subprocess.TimeoutExpired:
            raise machine.Trouble(f"{peer.name}: {self.case.name}: wrk did not end") from None
        finally:
            wrk.stop()
        spent = child.cpu_seconds() - before
        output = wrk.output.read_text()
        line = output.rpartition("\nROUND ")[2]
        try:
            told = json.loads(line)
        except ValueError:
            raise machine.Trouble(f"wrk ended without a figure:\n{output}") from None
        errors = {k: told[k] for k in ("connect", "read", "write", "status", "timeout") if told[k]}
        if errors or told["bytes"] < told["calls"] * len(self.plain):
            raise machine.Trouble(f"{peer.name}: {self.case.name}: {told['calls']} calls, {told['bytes']} bytes, "
                                  f"errors {errors}:\n{child.tail()}")
        if not told["calls"] and seconds < LONGEST:
            # The machine had no time for this peer. A longer round says as much.
            return self.run(peer, child, port, 2 * seconds, keys)
        if not told["calls"]:
            raise machine.Trouble(f"{peer.name}: {self.case.name}: no call ended in {seconds} s: take longer rounds")
        wrk.trim_logs()
        child.trim_logs()
        return Round(1e6 * spent / told["calls"], 1e6 * told["calls"] / told["micros"], told["p50"], told["p99"],
                     told["p999"])


def time_case(case, started, platform, load_cpus, rng, rounds, seconds, warm_up):
    """`started`: (peer, child, port) in the order of the table. Gives a `Result` for each."""
    load = Load(case, platform, load_cpus, rng)
    kept = {peer.name: [] for peer, _, _ in started}
    for peer, child, port in started:
        load.verify(peer, port)
        load.run(peer, child, port, warm_up)
        child.forget_peak()
    for turn in range(rounds):
        # Each round another peer begins, so that none always follows the same one.
        first = turn % len(started)
        for peer, child, port in started[first:] + started[:first]:
            kept[peer.name].append(load.run(peer, child, port, seconds))
    results = {}
    for peer, child, port in started:
        load.verify(peer, port)
        results[peer.name] = Result(kept[peer.name], child.peak_mib())
    return results
