"""Every request at every member, with either kind leading, and the same answers from all."""

import unittest

from api import wait_until
from case import MixedTest

# The shortest lease that a cluster with etcd's default election timeout grants.
SHORTEST_TTL_S = 2


class RequestTest(MixedTest):
    def test_requests_at_each_member(self):
        self.each_shape(self.check_requests)

    def check_requests(self, cluster):
        for member in cluster.members:
            start = member.client.put(b"before", b"").header.revision + 1
        watches = [member.client.watch(b"r/", start) for member in cluster.members]
        for member in cluster.members:
            self.check_keys(cluster, member)
            self.check_compaction(cluster, member, start)
        self.check_leases_that_run_out(cluster)
        for member in cluster.members:
            self.check_lease(cluster, member)
        end = member.client.put(b"r/end", b"").header.revision
        seen = {str(member): watch.until(end) for member, watch in zip(cluster.members, watches)}
        first = next(iter(seen.values()))
        self.assertGreaterEqual(len(first), 6 * len(cluster.members))
        for name, events in seen.items():
            self.assertEqual(events, first, name)
        for watch in watches:
            watch.close()
        cluster.leader().client.delete(b"r/")

    def check_keys(self, cluster, member):
        """Puts, transactions and deletes through one member, read through all."""
        for key in (b"r/a", b"r/b", b"r/c"):
            member.client.put(key, member.name.encode())
        self.assertTrue(member.client.create(b"r/new", b"1").succeeded)
        for other in cluster.members:
            again = other.client.create(b"r/new", b"2")
            self.assertFalse(again.succeeded)
            self.assertEqual(again.responses[0].response_range.kvs[0].value, b"1")
            self.assertEqual([kv.key for kv in other.client.get(b"r/").kvs][:3], [b"r/a", b"r/b", b"r/c"])
        deleted = member.client.delete(b"r/new")
        self.assertEqual([kv.value for kv in deleted.prev_kvs], [b"1"])
        for other in cluster.members:
            self.assertEqual(other.client.get(b"r/new").count, 0)
            self.assertEqual(other.client.get(b"r/new", deleted.header.revision - 1).kvs[0].value, b"1")

    def check_compaction(self, cluster, member, start):
        """A compaction through one member holds at all. Watches may not have seen what it drops, so it drops little."""
        revision = member.client.put(b"r/a", b"compact").header.revision
        for other in cluster.members:
            wait_until(f"{other} applies", lambda o=other: o.client.status().header.revision >= revision)
        old = start - 1
        if old > self.compacted(cluster):
            member.client.compact(old)
            for other in cluster.members:
                self.assert_refused("has been compacted", lambda o=other: o.client.get(b"r/", old - 1))
        self.assert_refused("future revision", lambda: member.client.compact(revision + 1000))

    def compacted(self, cluster):
        leader = cluster.leader().client
        return leader.hash_kv(leader.status().header.revision).compact_revision

    def check_lease(self, cluster, member):
        """A lease granted through one member is known to all, can be renewed through all, and its end holds at all."""
        lease = member.client.grant(60).ID
        member.client.put(b"r/leased", b"", lease)
        for other in cluster.members:
            self.assertEqual(other.client.keep_alive(lease).TTL, 60, f"granted at {member}, renewed at {other}")
            answer = other.client.time_to_live(lease)
            self.assertEqual((answer.grantedTTL, list(answer.keys)), (60, [b"r/leased"]))
            self.assertGreater(answer.TTL, 55)
            wait_until(f"{other} lists the lease", lambda o=other: lease in o.client.leases())
        member.client.revoke(lease)
        for other in cluster.members:
            self.assertEqual(other.client.get(b"r/leased").count, 0)
            self.assert_refused("lease not found", lambda o=other: o.client.put(b"r/x", b"", lease))
            self.assertEqual(other.client.keep_alive(lease).TTL, 0)

    def check_leases_that_run_out(self, cluster):
        """A lease granted through any member ends at its time with its keys, at all members."""
        leases = [(member, member.client.grant(SHORTEST_TTL_S).ID) for member in cluster.members]
        for member, lease in leases:
            member.client.put(b"r/short/" + member.name.encode(), b"", lease)
        for member, lease in leases:
            wait_until("a lease runs out", lambda m=member: m.client.get(b"r/short/").count == 0)
            self.assertEqual(member.client.keep_alive(lease).TTL, 0)


if __name__ == "__main__":
    unittest.main()
