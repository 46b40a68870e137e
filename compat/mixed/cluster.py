"""Members as processes on loopback, of either kind, and the clusters that they form."""

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

import grpc
from api import NO_SUCH_SERVER, Client, wait_until

BINARIES = {"ours": os.environ["ETCD"], "go": os.environ["GO_ETCD"]}
# So few entries between two snapshots, and so few kept for followers, that snapshots happen in a short test.
SNAPSHOT_COUNT = 100
CATCHUP_ENTRIES = 50
# What Go members before 3.6 keep; they have no flag for it.
CATCHUP_ENTRIES_FIXED = 5000
QUOTA_BYTES = 16 << 20

running = set()
taken_ports = set()


def end_all():
    for member in list(running):
        member.kill()


atexit.register(end_all)
# Ending this program by a signal ends its members as well.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port():
    """A port that nothing listens on, and that no earlier call has returned."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as attempt:
            if port not in taken_ports and attempt.connect_ex(("127.0.0.1", port)) != 0:
                taken_ports.add(port)
                return port


def go_version():
    """The version of the Go members, as numbers."""
    answer = subprocess.run([BINARIES["go"], "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in re.search(r"Version: (\d+)\.(\d+)\.(\d+)", answer.stdout).groups())


GO_VERSION = go_version()


def catchup_entries(kind):
    """How many entries behind its snapshot a member of this kind keeps."""
    fixed = kind == "go" and GO_VERSION < (3, 6)
    return CATCHUP_ENTRIES_FIXED if fixed else CATCHUP_ENTRIES


class Member:
    """One process with its data directory, ports and client."""

    def __init__(self, folder, name, kind):
        self.name, self.kind = name, kind
        self.data = os.path.join(folder, name)
        self.log = os.path.join(folder, name + ".log")
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None
        self.client = Client(self.address)
        self.cluster_flags = []

    def start(self, initial_cluster, state):
        """Starts a member without data. `state` is new or existing."""
        self.cluster_flags = [
            f"--initial-cluster={initial_cluster}",
            f"--initial-cluster-state={state}",
            "--initial-cluster-token=mixed",
        ]
        self.restart()

    def restart(self):
        client_url = f"http://{self.address}"
        command = [BINARIES[self.kind], f"--name={self.name}", f"--data-dir={self.data}"]
        command += [f"--listen-client-urls={client_url}", f"--advertise-client-urls={client_url}"]
        command += [f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}"]
        command += [f"--snapshot-count={SNAPSHOT_COUNT}", f"--quota-backend-bytes={QUOTA_BYTES}"]
        if catchup_entries(self.kind) == CATCHUP_ENTRIES:
            command.append(f"--snapshot-catchup-entries={CATCHUP_ENTRIES}")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command + self.cluster_flags, stdout=log, stderr=log)
        running.add(self)

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def _end(self, how):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
        self.process = None
        running.discard(self)

    def wait_for_end(self):
        """Waits until the member has ended by itself."""
        wait_until(f"{self} ends", lambda: self.process.poll() is not None)
        running.discard(self)

    def is_ready(self):
        """Whether the member serves, knows a leader and has applied what it knows to be committed."""
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self} ended by itself")
        try:
            status = self.client.status()
        except grpc.RpcError as error:
            if error.code() in NO_SUCH_SERVER:
                return False
            raise
        return status.leader != 0 and status.raftAppliedIndex >= status.raftIndex

    @property
    def id(self):
        return self.client.status().header.member_id

    def metric(self, name):
        """The sum over all labels of what /metrics says."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=15) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(name + r"[ {]", line))

    def last_lines(self, count=12):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-count:])

    def __str__(self):
        return f"{self.name} ({self.kind})"


class Cluster:
    """Members that know each other."""

    def __init__(self, kinds):
        self.folder = tempfile.mkdtemp(prefix="mixed-")
        self.members = []
        self.made = 0
        for kind in kinds:
            self.members.append(self.make(kind))
        for member in self.members:
            member.start(self.initial_cluster(), "new")
        self.wait_until_ready()

    def make(self, kind):
        self.made += 1
        return Member(self.folder, f"m{self.made}", kind)

    def initial_cluster(self):
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def wait_until_ready(self):
        for member in self.members:
            wait_until(f"{member} serves", member.is_ready)

    def leader(self):
        """The member that leads, once all agree."""
        return wait_until("all members name the same leader", self._leader)

    def _leader(self):
        try:
            statuses = [(member, member.client.status()) for member in self.members]
        except grpc.RpcError:
            return None
        if len({status.leader for _, status in statuses}) != 1:
            return None
        leading = [member for member, status in statuses if status.leader == status.header.member_id]
        return leading[0] if leading else None

    def lead(self, kind):
        """Makes a member of this kind the leader, and returns it."""
        target = next(member for member in self.members if member.kind == kind)
        wait_until(f"{target} leads", lambda: self._moved(target))
        return target

    def _moved(self, target):
        leader = self.leader()
        if leader is target:
            return True
        try:
            leader.client.move_leader(target.id)
        except grpc.RpcError:
            # The next turn tries again; the last one fails aloud.
            return False
        return self.leader() is target

    def join(self, kind, through, learner=False):
        """Adds a member of this kind, asking member `through`, and starts it."""
        member = self.make(kind)
        self.reconfigure(lambda: through.client.member_add(member.peer_url, learner))
        self.members.append(member)
        member.start(self.initial_cluster(), "existing")
        wait_until(f"{member} serves", lambda: is_serving(member))
        return member

    def remove(self, member, through):
        """Removes the member, asking member `through`; the removed one ends by itself."""
        member_id = member.id
        self.reconfigure(lambda: through.client.member_remove(member_id))
        self.members.remove(member)
        member.wait_for_end()

    def reconfigure(self, change):
        """Changes the members, again if a member says that it is too early (etcd waits for five seconds of calm).

        A leader is waited for: without one, a Go member drops the change in silence.
        """
        self.leader()
        wait_until("the members change", lambda: unless_refused(change))

    def hashes(self, revision):
        """The HashKV of each member at the revision, once all have it."""
        for member in self.members:
            wait_until(
                f"{member} has revision {revision}",
                lambda member=member: member.client.status().header.revision >= revision,
            )
        answers = [(str(member), member.client.hash_kv(revision)) for member in self.members]
        return {name: (answer.hash, answer.compact_revision) for name, answer in answers}

    def close(self):
        for member in self.members:
            member.client.close()
            member.kill()
        shutil.rmtree(self.folder)


def is_serving(member):
    """Whether the member has joined; a learner answers this as well."""
    if member.process.poll() is not None:
        raise AssertionError(f"{member} ended by itself: {member.last_lines()}")
    try:
        return member.client.status().leader != 0
    except grpc.RpcError:
        return False


def unless_refused(change):
    try:
        change()
    except grpc.RpcError as error:
        if "unhealthy cluster" in error.details() or "in sync with leader" in error.details():
            return False
        raise
    return True
