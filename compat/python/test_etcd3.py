"""Uses the server at $ETCD_ENDPOINT through the package etcd3."""

import os
import unittest

import etcd3


class Etcd3Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        host, port = os.environ["ETCD_ENDPOINT"].split(":")
        cls.client = etcd3.client(host=host, port=int(port), timeout=30)

    def test_put_get_delete(self):
        self.client.put("kv", "1")
        answer = self.client.put("kv", "2", prev_kv=True)
        self.assertEqual(answer.prev_kv.value, b"1")
        value, meta = self.client.get("kv")
        self.assertEqual((value, meta.key, meta.version), (b"2", b"kv", 2))
        self.assertEqual(meta.mod_revision, meta.create_revision + 1)
        self.assertTrue(self.client.delete("kv"))
        self.assertFalse(self.client.delete("kv"))
        self.assertEqual(self.client.get("kv"), (None, None))

    def test_ranges(self):
        for name in ("range/b", "range/a", "ranges"):
            self.client.put(name, name.upper())
        ascending = [meta.key for _, meta in self.client.get_prefix("range/", sort_order="ascend")]
        self.assertEqual(ascending, [b"range/a", b"range/b"])
        by_age = self.client.get_range("range", "rangex", sort_order="descend", sort_target="create")
        self.assertEqual([value for value, _ in by_age], [b"RANGES", b"RANGE/A", b"RANGE/B"])
        self.assertEqual([meta.key for _, meta in self.client.get_range("range/b", "ranger")], [b"range/b"])
        self.assertEqual(self.client.delete_prefix("range/").deleted, 2)

    def test_transactions(self):
        txn = self.client.transactions
        self.client.put("a", "1")
        succeeded, _ = self.client.transaction(
            compare=[txn.value("a") == "1", txn.version("a") > 0, txn.create("b") == 0],
            success=[txn.put("b", "2"), txn.delete("a")],
            failure=[txn.get("a")],
        )
        self.assertTrue(succeeded)
        succeeded, answers = self.client.transaction(
            compare=[txn.value("a") == "1"], success=[], failure=[txn.get("b")]
        )
        self.assertFalse(succeeded)
        self.assertEqual(answers[0][0][0], b"2")
        self.assertTrue(self.client.replace("b", "2", "3"))
        self.assertFalse(self.client.replace("b", "2", "4"))
        self.assertTrue(self.client.put_if_not_exists("c", "1"))
        self.assertFalse(self.client.put_if_not_exists("c", "2"))

    def test_watch(self):
        events, cancel = self.client.watch_prefix("w/", prev_kv=True)
        self.client.put("w/a", "1")
        self.client.put("w/a", "2")
        self.client.delete("w/a")
        put, update, delete = next(events), next(events), next(events)
        self.assertIsInstance(put, etcd3.events.PutEvent)
        self.assertEqual((update.key, update.value, update.prev_value), (b"w/a", b"2", b"1"))
        self.assertIsInstance(delete, etcd3.events.DeleteEvent)
        cancel()

    def test_watch_from_the_past_and_of_what_is_compacted(self):
        first = self.client.put("h", "1").header.revision
        last = self.client.put("h", "2").header.revision
        events, cancel = self.client.watch("h", start_revision=first)
        self.assertEqual([next(events).value, next(events).value], [b"1", b"2"])
        cancel()
        self.client.compact(last)
        with self.assertRaises(etcd3.exceptions.RevisionCompactedError) as refusal:
            events, _ = self.client.watch("h", start_revision=first)
            next(events)
        self.assertEqual(refusal.exception.compacted_revision, last)

    def test_leases(self):
        lease = self.client.lease(60)
        self.client.put("l/a", "1", lease=lease)
        self.assertEqual(lease.granted_ttl, 60)
        self.assertLessEqual(lease.remaining_ttl, 60)
        self.assertEqual(list(lease.keys), [b"l/a"])
        self.assertEqual([answer.TTL for answer in lease.refresh()], [60])
        lease.revoke()
        self.assertEqual(self.client.get("l/a"), (None, None))
        self.assertEqual(self.client.get_lease_info(lease.id).TTL, -1)

    def test_a_lock_admits_one(self):
        ours, theirs = self.client.lock("lock", ttl=30), self.client.lock("lock", ttl=30)
        self.assertTrue(ours.acquire())
        self.assertTrue(ours.is_acquired())
        self.assertFalse(theirs.acquire(timeout=1))
        self.assertTrue(ours.release())
        self.assertTrue(theirs.acquire())
        self.assertTrue(theirs.release())

    def test_errors(self):
        answer = self.client.put("a", "1")
        self.client.compact(answer.header.revision)
        with self.assertRaises(Exception) as refusal:
            self.client.compact(answer.header.revision)
        self.assertIn("mvcc: required revision has been compacted", str(refusal.exception))

    def test_maintenance(self):
        status = self.client.status()
        self.assertGreater(status.db_size, 0)
        self.assertGreater(status.raft_index, 0)
        (member,) = self.client.members
        self.assertEqual(status.leader.id, member.id)
        self.assertEqual(member.client_urls, ["http://" + os.environ["ETCD_ENDPOINT"]])
        self.assertEqual(list(self.client.list_alarms()), [])
        self.assertIsInstance(self.client.hash(), int)
        self.client.defragment()
