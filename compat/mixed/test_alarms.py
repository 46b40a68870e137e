"""The alarm for a full quota: raised by whoever notices, obeyed by all, disarmed at any member."""

import unittest

from api import wait_until
from case import MixedTest
from cluster import QUOTA_BYTES
from etcdserverpb import rpc_pb2 as pb

VALUE = bytes(1 << 20)
NO_SPACE = "database space exceeded"


class AlarmTest(MixedTest):
    def test_alarms(self):
        self.each_shape(self.check_alarms)

    def check_alarms(self, cluster):
        self.check_full_quota(cluster)
        self.check_alarm_of_each_member(cluster)

    def check_full_quota(self, cluster):
        self.fill(cluster)
        for member in cluster.members:
            wait_until(f"{member} has the alarm", member.client.alarms)
            self.assert_refused(NO_SPACE, lambda m=member: m.client.put(b"full", b""))
            self.assert_refused(NO_SPACE, lambda m=member: m.client.grant(60))
            # etcd carries a put out and refuses it if it finds the quota full only then (server/etcdserver/apply).
            kept = len(member.client.get(b"big/", serializable=True).kvs)
            self.assertIn(kept, range(self.written, self.written + self.refused + 1))
            self.assertEqual(kept, len(cluster.leader().client.get(b"big/", serializable=True).kvs))
        self.make_room(cluster)
        raised = cluster.leader().client.alarms()
        for (member_id, kind), member in zip(sorted(raised), cluster.members):
            self.assertEqual(kind, pb.NOSPACE)
            member.client.disarm(member_id)
        self.check_writable(cluster)

    def fill(self, cluster):
        """Writes through one member after the other until one of them has no room."""
        self.written = self.refused = 0
        while not cluster.leader().client.alarms():
            self.assertLess(self.written * len(VALUE), 2 * QUOTA_BYTES, "the quota has no effect")
            member = cluster.members[self.written % len(cluster.members)]
            try:
                member.client.put(b"big/%d" % self.written, VALUE)
                self.written += 1
            except Exception as error:  # grpc raises several kinds of errors, all with details()
                self.assertIn(NO_SPACE, error.details())
                self.refused += 1

    def make_room(self, cluster):
        """Deletes and compactions are allowed while the alarm is up."""
        leader = cluster.leader()
        leader.client.delete(b"big/")
        revision = leader.client.get(b"big/").header.revision
        cluster.members[0].client.compact(revision)
        for member in cluster.members:
            wait_until(
                f"{member} compacts",
                lambda m=member: m.client.hash_kv(0).compact_revision == revision,
            )
            wait_until(f"{member} is small again", lambda m=member: self.is_small(m))

    def is_small(self, member):
        member.client.defragment()
        return member.client.status().dbSize < QUOTA_BYTES / 2

    def check_alarm_of_each_member(self, cluster):
        """An alarm raised for one member through another is in force everywhere; disarmed anywhere, nowhere."""
        others = cluster.members[1:] + cluster.members[:1]
        for member, other in zip(cluster.members, others):
            member_id = member.id
            other.client.raise_no_space(member_id)
            for each in cluster.members:
                wait_until(f"{each} has the alarm", each.client.alarms)
                self.assertEqual(each.client.alarms(), {(member_id, pb.NOSPACE)})
                self.assert_refused(NO_SPACE, lambda e=each: e.client.put(b"alarmed", b""))
            other.client.disarm(member_id)
            self.check_writable(cluster)

    def check_writable(self, cluster):
        for member in cluster.members:
            wait_until(f"{member} has no alarm", lambda m=member: not m.client.alarms())
            member.client.put(b"writable", b"")


if __name__ == "__main__":
    unittest.main()
