"""What the rig asks of the machine: a work directory, free ports, child processes and their accounting.

Ends only processes that it started, by their id, and takes its directory away again.
"""

import ctypes
import os
import platform as host
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WORK = HERE / ".work" / str(os.getpid())
ROOT = HERE.parent.parent

PR_SET_PDEATHSIG = 1
SEARCHED = os.environ.get("PATH", os.defpath) + ":/usr/sbin"

# glibc gives large blocks back to the kernel at once and asks for them anew; every peer runs with that switched off.
CALM_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}


class Trouble(Exception):
    """Ends the run with one sentence."""


def cpus():
    """The CPU of the measured peer, and those of everything else."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Trouble("two CPUs are needed: one for the measured peer, one for load and platform")
    return {usable[0]}, set(usable[1:])


def free_port():
    """A port of loopback that was free a moment ago, below those that the kernel gives away by itself."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(10_000, first - 5_000), first)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def need(program):
    """Where an installed program is."""
    found = shutil.which(program, path=SEARCHED)
    if not found:
        raise Trouble(f"{program} is not installed: run benches/peers/setup")
    return found


def first_line(program, *argv):
    found = shutil.which(program, path=SEARCHED)
    if not found:
        return f"no {program}"
    done = subprocess.run([found, *argv], capture_output=True, text=True, cwd=ROOT)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else "unknown"


def describe():
    """The machine, the commit and the versions: what a table needs to be believed."""
    cpu = "unknown CPU"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    commit = first_line("git", "describe", "--always", "--dirty")
    versions = [first_line("nginx", "-v").removeprefix("nginx version: "), first_line("openssl", "version").partition(" (")[0],
                f"node {first_line('node', '--version')}", first_line("haproxy", "-v").removesuffix(" - https://haproxy.org/")]
    return (f"{cpu}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Linux {host.release()}, commit {commit}, "
            f"{', '.join(versions)}, {time.strftime('%Y-%m-%d')}")


def fill(template, values):
    """The text of a template file with each @name@ replaced."""
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def fresh_dir(name):
    path = WORK / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


class Child:
    """One started program with all its processes."""

    running = []

    def __init__(self, name, argv, directory, cpu_set, env):
        self.name = name
        self.dir = directory
        self.output = directory / "output.log"
        libc = ctypes.CDLL(None, use_errno=True)

        def prepare():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.sched_setaffinity(0, cpu_set)

        # Opened for appending, so that emptying the file between rounds works.
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={"PATH": os.environ.get("PATH", os.defpath)} | env, preexec_fn=prepare)
        Child.running.append(self)

    def pids(self):
        """Its own process and the direct children (nginx: master and worker)."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            raise Trouble(f"{self.name} has ended early:\n{self.tail()}") from None
        return [pid, *map(int, children)]

    def cpu_seconds(self):
        """User and system time of all threads of all its processes so far, by the clock that the kernel keeps for each process."""
        # clock_getcpuclockid(3) makes the clock's number like this; /proc/PID/stat has the same time in steps of 10 ms.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())

    def peak_mib(self):
        """The largest resident size of each process since `forget_peak`, together."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
        return total / 1024

    def resident_mib(self):
        """The resident size of all its processes now."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids()) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def forget_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def trim_logs(self):
        """Empties its log files, so that a long run fills no disk."""
        for log in self.dir.glob("*.log"):
            os.truncate(log, 0)

    def tail(self):
        text = ""
        for name in ("output.log", "error.log"):
            log = self.dir / name
            if log.exists():
                text += "".join(f"  {name}: {line}\n" for line in log.read_text(errors="replace").splitlines()[-8:])
        return text

    def await_port(self, port, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0 and self.process.poll() is None:
                    return
            time.sleep(0.02)
        ended = self.process.poll()
        how = "does not listen" if ended is None else f"ended with {ended} before it listened"
        raise Trouble(f"{self.name} {how}:\n{self.tail()}")

    def stop(self):
        if self in Child.running:
            Child.running.remove(self)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def stop_all():
    for child in list(Child.running):
        child.stop()


def clean():
    """Takes away this run's directory, and those of runs that were killed."""
    for left in WORK.parent.glob("[0-9]*"):
        if left == WORK or not Path("/proc", left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        WORK.parent.rmdir()
    except OSError:
        pass  # Another run is at work there.


def nginx(name, template, values, cpu_set, env):
    """Starts an nginx from a template and waits until it listens."""
    program = need("nginx")
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    modules = built.partition("--modules-path=")[2].split()[0]
    directory = fresh_dir(name)
    # As root, nginx would give its worker to a user who cannot read this directory.
    user = "user root;" if os.geteuid() == 0 else ""
    conf = directory / "nginx.conf"
    conf.write_text(fill(template, {"user": user, "modules": modules} | values))
    argv = [program, "-p", str(directory), "-e", "error.log", "-c", str(conf)]
    child = Child(name, argv, directory, cpu_set, CALM_MALLOC | env)
    child.await_port(values["port"])
    return child
