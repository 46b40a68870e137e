"""Load whose acknowledgements are recorded, so that what was acknowledged can be looked for afterwards."""

import itertools
import threading
import time
from collections import Counter

import grpc
from api import Client, wait_until

# The pause after each put: a load that a small machine bears.
PAUSE_S = 0.005
# Puts under way at most. A put that a lost leader left without an answer takes a member's whole time-out.
PENDING_MAX = 4096
# What etcd answers while a leader is being replaced, or a member ends.
TEXTS_OF_ETCD = (
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "etcdserver: server stopped",
    "etcdserver: no leader",
    "etcdserver: not leader",
)
# What only a Go member that is ending answers.
TEXT_OF_A_GO_MEMBER = "raft: stopped"


class Writer:
    """Puts new keys through all members in turn, whether or not earlier puts were answered.

    A key is put once: it is never tried again.
    """

    def __init__(self, cluster):
        self.acknowledged = {}
        self.times = [time.monotonic()]
        self.errors = Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.room = threading.BoundedSemaphore(PENDING_MAX)
        self.follow(cluster)
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def follow(self, cluster):
        """From now on the writer uses these members."""
        self.targets = [(member.address, member.kind) for member in cluster.members]

    def _write(self):
        clients = {}
        for count in itertools.count():
            if self.ended.wait(PAUSE_S):
                break
            targets = self.targets
            address, kind = targets[count % len(targets)]
            if address not in clients:
                clients[address] = Client(address)
            self._put(clients[address], kind, b"load/%d" % count)
        for _ in range(PENDING_MAX):
            self.room.acquire()
        for client in clients.values():
            client.close()

    def _put(self, client, kind, key):
        self.room.acquire()
        call = client.begin_put(key, key)
        call.add_done_callback(lambda call: self._note(kind, key, call))

    def _note(self, kind, key, call):
        with self.lock:
            if call.code() == grpc.StatusCode.OK:
                self.acknowledged[key] = call.result().header.revision
                self.times.append(time.monotonic())
            else:
                self.errors[(kind, call.code(), call.details())] += 1
        self.room.release()

    def wait_for(self, count):
        """Waits until so many further puts were acknowledged."""
        end = len(self.acknowledged) + count
        wait_until("puts are acknowledged", lambda: len(self.acknowledged) >= end)

    def end(self):
        """Stops writing and waits for all answers."""
        self.ended.set()
        self.thread.join()

    def longest_pause(self):
        """The longest time in seconds without any acknowledgement."""
        return max(after - before for before, after in itertools.pairwise(self.times))

    def errors_unlike_etcd(self):
        """Errors that a client of etcd would not see: neither a connection that failed nor one of etcd's texts."""
        return {error: count for error, count in self.errors.items() if not self._is_of_etcd(*error)}

    @staticmethod
    def _is_of_etcd(kind, code, text):
        if text.startswith("etcdserver:"):
            return text.startswith(TEXTS_OF_ETCD)
        if text == TEXT_OF_A_GO_MEMBER:
            return kind == "go"
        return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    def check(self, test, cluster):
        """All that was acknowledged is at every member, as it was written, at the revision that was answered."""
        test.assertEqual(self.errors_unlike_etcd(), {})
        for member in cluster.members:
            found = {kv.key: kv for kv in member.client.get(b"load/").kvs}
            lost = [key for key in self.acknowledged if key not in found]
            test.assertEqual(lost, [], f"lost at {member}")
            for key, revision in self.acknowledged.items():
                test.assertEqual((found[key].value, found[key].mod_revision), (key, revision))

    def summary(self):
        failures = Counter()
        for (_, _, text), count in self.errors.items():
            failures[text if text.startswith("etcdserver:") else "connection lost"] += count
        failed = ", ".join(f"{count} × {text}" for text, count in failures.items())
        return (
            f"{len(self.acknowledged)} puts acknowledged; longest time without service "
            f"{self.longest_pause():.2f} s; failed: {failed or 'none'}"
        )
