"""Members added, promoted, updated and removed, with either kind leading, through members of both kinds."""

import unittest

import grpc
from api import wait_until
from case import MixedTest
from cluster import free_port


class MemberTest(MixedTest):
    def test_a_go_leader_takes_a_learner_of_ours(self):
        self.check_members("go", "ours")

    def test_our_leader_takes_a_go_learner(self):
        self.check_members("ours", "go")

    def check_members(self, leading, joining):
        cluster = self.cluster(("ours", "go", "go") if leading == "go" else ("ours", "ours", "go"))
        leader = cluster.lead(leading)
        through = next(member for member in cluster.members if member.kind == joining)
        self.check_refusals(through)
        learner = cluster.join(joining, through, learner=True)
        self.check_learner(through, learner)
        learner_id = learner.id
        cluster.reconfigure(lambda: through.client.member_promote(learner_id))
        wait_until(f"{learner} votes", learner.is_ready)
        self.assert_refused("can only promote a learner", lambda: leader.client.member_promote(learner_id))
        for member in cluster.members:
            member.client.put(b"promoted", member.name.encode())
        self.check_update(cluster, through, learner)
        self.check_equal_lists(cluster)
        self.assert_equal_hashes(cluster)
        cluster.remove(learner, through)
        self.check_equal_lists(cluster)
        self.check_strictness(cluster, through)
        self.assert_equal_hashes(cluster)

    def check_refusals(self, through):
        taken = through.client.members()[0].peerURLs[0]
        # Until the member has been connected for five seconds, that is what it complains about.
        wait_until("a member may be added", lambda: not self.is_too_early(lambda: through.client.member_add(taken)))
        self.assert_refused("Peer URLs already exists", lambda: through.client.member_add(taken))
        self.assert_refused("member not found", lambda: through.client.member_remove(12345))
        self.assert_refused("member not found", lambda: through.client.member_promote(12345))
        unused = f"http://127.0.0.1:{free_port()}"
        self.assert_refused("member not found", lambda: through.client.member_update(12345, unused))

    def is_too_early(self, call):
        try:
            call()
        except grpc.RpcError as error:
            return "unhealthy cluster" in error.details()
        return False

    def check_learner(self, through, learner):
        self.assertTrue(learner.client.status().isLearner)
        self.assert_refused("rpc not supported for learner", lambda: learner.client.put(b"learner", b""))
        self.assert_refused("rpc not supported for learner", lambda: learner.client.get(b"learner"))
        another = f"http://127.0.0.1:{free_port()}"
        self.assert_refused("too many learner", lambda: through.client.member_add(another, learner=True))

    def check_update(self, cluster, through, member):
        """A member moves to another peer URL: the others are told, then it restarts there."""
        member_id = member.id
        member.peer_url = f"http://127.0.0.1:{free_port()}"
        through.client.member_update(member_id, member.peer_url)
        member.stop()
        member.restart()
        wait_until(f"{member} serves at its new URL", member.is_ready)
        cluster.wait_until_ready()
        self.assertIn([member.peer_url], [m.peerURLs for m in through.client.members() if m.ID == member_id])

    def check_equal_lists(self, cluster):
        lists = [member.client.members() for member in cluster.members]
        self.assertEqual(len(lists[0]), len(cluster.members))
        self.assertTrue(all(m.name and m.clientURLs and not m.isLearner for m in lists[0]))
        for each in lists[1:]:
            self.assertEqual(each, lists[0])

    def check_strictness(self, cluster, through):
        """With one of three members down, no voter is added, and none of the others is removed."""
        down = next(m for m in cluster.members if m is not through and m is not cluster.leader())
        left = [m for m in cluster.members if m is not down]
        down.kill()
        another = f"http://127.0.0.1:{free_port()}"
        for member in left:
            self.wait_until_missed(member, left)
        for member in left:
            # Three members of a cluster of four, one of them down, are a majority: all three must be there.
            self.assert_refused("unhealthy cluster", lambda m=member: m.client.member_add(another))
            victim = next(other for other in left if other is not member).id
            self.assert_refused("unhealthy cluster", lambda m=member, v=victim: m.client.member_remove(v))
        down.restart()
        cluster.wait_until_ready()

    def wait_until_missed(self, member, left):
        """Waits until the member is connected to no more members than are left."""
        others = len(left) - 1
        wait_until(f"{member} misses one", lambda: member.metric("etcd_network_active_peers") == others)


if __name__ == "__main__":
    unittest.main()
