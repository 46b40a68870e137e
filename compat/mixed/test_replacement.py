"""Go members under load are replaced by ours one at a time, and back again."""

import unittest

from case import MixedTest
from cluster import GO_VERSION
from writer import Writer

PUTS_BETWEEN = 100


class ReplacementTest(MixedTest):
    def test_there_and_back_again(self):
        cluster = self.cluster(("go", "go", "go"))
        writer = Writer(cluster)
        self.addCleanup(writer.end)
        writer.wait_for(PUTS_BETWEEN)
        # A cluster without members of an old version takes the new version, and then no old member joins it.
        # So one old member stays.
        count = 3 if GO_VERSION >= (3, 7) else 2
        for old, new in [("go", "ours")] * count + [("ours", "go")] * count:
            self.replace(cluster, writer, old, new)
        writer.end()
        print(f"\nreplaced {2 * count} members: {writer.summary()}")
        writer.check(self, cluster)
        self.assert_equal_hashes(cluster)
        self.assertEqual([member.kind for member in cluster.members], ["go"] * 3)

    def replace(self, cluster, writer, old, new):
        """Removes the leader if it is of the old kind, else another of the old kind; then adds one of the new kind."""
        leader = cluster.leader()
        leaving = leader if leader.kind == old else next(m for m in cluster.members if m.kind == old)
        through = next(member for member in cluster.members if member is not leaving)
        cluster.remove(leaving, through)
        writer.follow(cluster)
        cluster.join(new, through)
        cluster.wait_until_ready()
        writer.follow(cluster)
        writer.wait_for(PUTS_BETWEEN)


if __name__ == "__main__":
    unittest.main()
