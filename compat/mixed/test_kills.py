"""Members of either kind are killed under load, leading or not."""

import unittest

from case import SHAPES, MixedTest
from writer import Writer

PUTS_BETWEEN = 100


class KillTest(MixedTest):
    def test_kill_of_each_member_and_of_leaders_of_both_kinds(self):
        for shape, kinds in SHAPES.items():
            with self.subTest(shape):
                self.check_kills(shape, kinds)

    def check_kills(self, shape, kinds):
        cluster = self.cluster(kinds)
        writer = Writer(cluster)
        self.addCleanup(writer.end)
        for member in list(cluster.members):
            self.kill(cluster, writer, member)
        for kind in ("go", "ours"):
            self.kill(cluster, writer, cluster.lead(kind))
        writer.end()
        print(f"\n{shape}, 5 kills: {writer.summary()}")
        writer.check(self, cluster)
        self.assert_equal_hashes(cluster)

    def kill(self, cluster, writer, member):
        writer.wait_for(PUTS_BETWEEN)
        member.kill()
        writer.wait_for(PUTS_BETWEEN)
        member.restart()
        cluster.wait_until_ready()


if __name__ == "__main__":
    unittest.main()
