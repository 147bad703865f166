"""A load of its own pace: so many requests a second, whatever the peer does, over any number of kept connections in turn.

Single-threaded on epoll; some thousand requests a second are what it can. They leave in bursts of a millisecond's worth.
"""

import resource
import select
import socket
import time
from collections import deque

from . import machine

# Requests on their way at the same time, whatever the number of connections: after a pause that the machine made, what is due
# would else leave all at once where there are many.
AT_ONCE = 10

# Connections that one source address opens; the next ones come from the next address of loopback.
PER_ADDRESS = 5_000


def raise_descriptors(needed):
    """Lets this process, and those that it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
        except (ValueError, OSError):
            raise machine.Trouble(f"{needed} open files are needed and {hard} are allowed: raise the hard limit (ulimit -Hn)") from None
    elif soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Pace:
    """Kept connections to one port, each used once at the start. `requests` gives the bytes of the next request."""

    def __init__(self, name, port, connections, requests):
        self.name = name
        self.requests = requests
        self.epoll = select.epoll()
        self.sockets = {}
        self.free = deque()
        self.pending = {}
        for i in range(connections):
            s = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(f"127.0.0.{1 + i // PER_ADDRESS}", 0))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.setblocking(False)
            self.sockets[s.fileno()] = s
            self.epoll.register(s.fileno(), select.EPOLLIN)
            self.free.appendleft(s.fileno())
            # In groups, because a connection may not be silent for long.
            if (i + 1) % 100 == 0 or i + 1 == connections:
                self.call_on(i % 100 + 1)

    def call_on_each(self):
        """One request on every connection: all are still open."""
        self.call_on(len(self.sockets))

    def call_on(self, count):
        sent = ended = 0
        while ended < count:
            while sent < count and len(self.pending) < AT_ONCE:
                self.send()
                sent += 1
            ended += self.receive(10)

    def run(self, rate, seconds):
        """Sends `rate` requests a second and waits for the last answer. Gives how many calls were made, and in how many seconds."""
        begun = time.monotonic()
        sent, ended, count = 0, 0, int(rate * seconds)
        while ended < count:
            due = min(count, int((time.monotonic() - begun) * rate) + 1)
            while sent < due and self.free and len(self.pending) < AT_ONCE:
                self.send()
                sent += 1
            ended += self.receive(0.001 if sent < count else 10)
        return count, time.monotonic() - begun

    def send(self):
        fd = self.free.popleft()
        request = self.requests()
        if self.sockets[fd].send(request) != len(request):
            raise machine.Trouble(f"{self.name}: a request did not leave whole")
        self.pending[fd] = b""

    def receive(self, timeout):
        """Reads what has come within `timeout` seconds. Gives how many answers are whole by that."""
        events = self.epoll.poll(timeout)
        if not events and timeout >= 10:
            raise machine.Trouble(f"{self.name}: no answer came within {timeout} s")
        whole = 0
        for fd, _ in events:
            if fd not in self.pending:
                raise machine.Trouble(f"{self.name}: an idle connection was closed")
            part = self.sockets[fd].recv(65536)
            answer = self.pending[fd] + part
            head, end, body = answer.partition(b"\r\n\r\n")
            if not part or end and not head.startswith(b"HTTP/1.1 200 "):
                raise machine.Trouble(f"{self.name}: {answer[:900]!r}")
            if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                del self.pending[fd]
                self.free.append(fd)
                whole += 1
            else:
                self.pending[fd] = answer
        return whole

    def close(self):
        self.epoll.close()
        for s in self.sockets.values():
            s.close()
