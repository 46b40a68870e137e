"""A follower that is too far behind for the raft log gets the leader's state, from either kind to the other."""

import unittest

from api import wait_until
from case import MixedTest
from cluster import SNAPSHOT_COUNT, catchup_entries

RECEIVED = "etcd_network_snapshot_receive_success"


class SnapshotTest(MixedTest):
    def test_go_follower_gets_ours(self):
        self.check_snapshot(("ours", "ours", "go"), "ours", "go")

    def test_our_follower_gets_the_state_of_a_go_member(self):
        self.check_snapshot(("ours", "go", "go"), "go", "ours")

    def check_snapshot(self, kinds, leading, behind):
        cluster = self.cluster(kinds)
        leader = cluster.lead(leading)
        follower = next(m for m in cluster.members if m.kind == behind and m is not leader)
        self.write_all_kinds(leader.client, "before")
        follower.kill()
        entries = catchup_entries(leading) + 3 * SNAPSHOT_COUNT
        keys = [b"many/%d" % (n % 500) for n in range(entries)]
        revision = leader.client.get(b"none").header.revision
        leader.client.put_many(keys, b"x")
        leader.client.compact(revision + entries // 2)
        self.write_all_kinds(leader.client, "missed")
        follower.restart()
        wait_until(f"{follower} has a state of {leader}", lambda: self.has_received(follower))
        self.check_follower(cluster, leader, follower)
        follower.kill()
        follower.restart()
        cluster.wait_until_ready()
        self.check_follower(cluster, leader, follower)
        cluster.lead(behind)
        self.check_follower(cluster, leader, follower)

    def write_all_kinds(self, client, name):
        """Keys, deletes, a lease and a lease that ends: whatever a state has to carry."""
        prefix = name.encode()
        self.leases = getattr(self, "leases", set()) | {client.grant(600).ID}
        for lease in self.leases:
            client.put(prefix + b"/leased/%x" % lease, b"", lease)
        client.put(prefix + b"/deleted", b"")
        client.delete(prefix + b"/deleted")
        client.revoke(client.grant(600).ID)

    def has_received(self, follower):
        return follower.is_ready() and follower.metric(RECEIVED + "(_total)?") >= 1

    def check_follower(self, cluster, leader, follower):
        expected = leader.client.get(b"missed").kvs
        self.assertEqual(follower.client.get(b"missed").kvs, expected)
        self.assertEqual(follower.client.leases(), self.leases)
        for lease in self.leases:
            # A Go member tells them in no order.
            keys = follower.client.time_to_live(lease).keys
            self.assertCountEqual(keys, leader.client.time_to_live(lease).keys)
        for member in cluster.members:
            member.client.put(b"after", member.name.encode())
        self.assert_equal_hashes(cluster)
        self.assertEqual(
            [(m.ID, m.name) for m in follower.client.members()],
            [(m.ID, m.name) for m in leader.client.members()],
        )


if __name__ == "__main__":
    unittest.main()
