"""What a run says: one line of a Markdown table for each case and peer, with the targets and whether they are met."""

import re
from statistics import median

# The most that the gateway's CPU time may be of a peer's.
NGINX_LUA = {
    "POST 1 KiB": 0.88, "POST 16 KiB": 0.76, "POST 1 MiB": 0.65,
    "GET 1 KiB": 1.0, "GET 16 KiB": 0.85, "GET 1 MiB": 0.65,
    "POST 1 KiB over TLS": 0.8, "POST 1 MiB over TLS": 0.6, "GET 1 MiB over TLS": 0.7,
}
NODE = 0.56
# And of the gateway that only passes on, beside nginx that does so.
PASS = 1.5
# The most that the gateway's p99 may be of nginx + Lua's.
P99 = 0.85

HEAD = ["case", "peer", "CPU µs", "ratio", "target", "calls/s", "p50 µs", "p99 µs", "p99.9 µs", "p99 ratio", "target", "peak MiB"]


def target(case, peer):
    """Of the CPU time; nothing where there is none."""
    return {"nginx-lua": NGINX_LUA.get(case), "node": NODE, "nginx-pass": PASS}.get(peer)


def ratios(first, second, field):
    """Median, least and greatest of first ÷ second, round by round."""
    each = [getattr(a, field) / getattr(b, field) for a, b in zip(first.rounds, second.rounds)]
    return median(each), min(each), max(each)


def verdict(value, most):
    if most is None:
        return ""
    return f"≤ {most:g} {'met' if value <= most else 'missed'}"


def reference(peer, peers):
    """Whose time is divided by this peer's: the gateway's in the same trade, else the first peer's."""
    name = "gateway" if peer.sealed else "gateway-pass"
    return name if name in (p.name for p in peers) else peers[0].name


def rows(peers, results):
    for case, of in results.items():
        for peer in peers:
            r, beside = of[peer.name], reference(peer, peers)
            ratio = met = p99 = p99_met = ""
            if beside != peer.name:
                mid, least, most = ratios(of[beside], r, "micros")
                ratio, met = f"{mid:.2f} [{least:.2f}..{most:.2f}]", verdict(mid, target(case, peer.name) if beside.startswith("gateway") else None)
                mid = ratios(of[beside], r, "p99")[0]
                p99, p99_met = f"{mid:.2f}", verdict(mid, P99 if (beside, peer.name) == ("gateway", "nginx-lua") else None)
            yield [case, peer.name, f"{r.mid('micros'):.1f}", ratio, met, f"{r.mid('rate'):.0f}", f"{r.mid('p50'):.0f}",
                   f"{r.mid('p99'):.0f}", f"{r.mid('p999'):.0f}", p99, p99_met, f"{r.peak_mib:.0f}"]


def markdown(head, lines):
    """Columns of equal width; numbers to the right."""
    number = re.compile(r"[\d.,]+")
    wide = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def text(line):
        cells = (c.rjust(w) if number.fullmatch(c) else c.ljust(w) for c, w in zip(line, wide))
        return "| " + " | ".join(cells) + " |"

    return "\n".join([text(head), "|" + "|".join("-" * (w + 2) for w in wide) + "|", *map(text, lines)])


def table(peers, results):
    lines = list(rows(peers, results))
    verdicts = [cell for line in lines for cell in (line[4], line[10]) if cell]
    missed = sum(cell.endswith("missed") for cell in verdicts)
    return markdown(HEAD, lines) + f"\n\n{len(verdicts) - missed} of {len(verdicts)} targets met."


def summary(peers, results):
    """A line for each case: the references' CPU time, and their ratio to each of the others with its verdict."""
    of_peer = {peer: reference(peer, peers) for peer in peers}
    shown = sorted(peers, key=lambda p: [q.name for q in peers].index(of_peer[p]))
    beside = {(line[0], line[1]): line for line in rows(peers, results)}
    ours = "gateway" in results[next(iter(results))] and "nginx-lua" in results[next(iter(results))]
    head = ["case", *(p.name if of_peer[p] == p.name else f"÷ {p.name}" for p in shown), *(["p99 ÷ nginx-lua"] if ours else [])]
    lines = []
    for case in results:
        line = [case]
        for peer in shown:
            of = beside[case, peer.name]
            line.append(of[2] if of_peer[peer] == peer.name else " ".join(cell for cell in (of[3], of[4]) if cell))
        if ours:
            line.append(" ".join(cell for cell in beside[case, "nginx-lua"][9:11] if cell))
        lines.append(line)
    return markdown(head, lines)
