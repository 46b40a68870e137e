"""What the tests of mixed clusters have in common."""

import sys
import unittest

from cluster import Cluster

SHAPES = {
    "two of ours and a Go member": ("ours", "ours", "go"),
    "one of ours and two Go members": ("ours", "go", "go"),
}


class MixedTest(unittest.TestCase):
    """A test that starts clusters. If it fails, the last lines of each member's logging are shown."""

    def cluster(self, kinds):
        cluster = Cluster(kinds)
        self.addCleanup(self._end, cluster)
        return cluster

    def _end(self, cluster):
        if not self._outcome.success:
            self._show(cluster)
        cluster.close()

    def _show(self, cluster):
        for member in cluster.members:
            print(f"-- {member}\n{member.last_lines()}", file=sys.stderr)

    def each_shape(self, check):
        """Calls `check(cluster)` for each shape of cluster and each kind that leads it; then all members are equal."""
        for shape, kinds in SHAPES.items():
            cluster = self.cluster(kinds)
            for leader in ("go", "ours"):
                with self.subTest(shape, leader=leader):
                    cluster.lead(leader)
                    check(cluster)
                    self.assert_equal_hashes(cluster)

    def assert_equal_hashes(self, cluster):
        """All members have the same history, up to the last revision of each."""
        revision = cluster.leader().client.get(b"none").header.revision
        hashes = cluster.hashes(revision)
        self.assertEqual(len(set(hashes.values())), 1, f"revision {revision}: {hashes}")
        return revision

    def assert_refused(self, text, call):
        """The call is refused with an error that has the text."""
        try:
            call()
        except Exception as error:  # grpc raises several kinds of errors, all with details()
            self.assertIn(text, error.details())
        else:
            self.fail(f"not refused: {text}")
