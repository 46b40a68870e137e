// Uses the server at $ETCD_ENDPOINT through the package etcd3.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError } from "etcd3";

// The package exports this constant to TypeScript only. Its default level finds conflicts where there are none
// when the keys were last changed by different revisions.
const SERIALIZABLE = 1;

const client = new Etcd3({ hosts: process.env.ETCD_ENDPOINT });
after(() => client.close());

test("put, get, delete", async () => {
  await client.put("kv/a").value("1");
  const before = await client.put("kv/a").value("2").getPrevious();
  assert.equal(before.value.toString(), "1");
  assert.equal(await client.get("kv/a"), "2");
  assert.equal((await client.get("kv/a").exec()).kvs[0].version, "2");
  assert.equal((await client.delete().key("kv/a")).deleted, "1");
  assert.equal(await client.get("kv/a"), null);
});

test("ranges", async () => {
  for (const name of ["b", "a", "c"]) await client.put(`range/${name}`).value(name);
  const all = client.getAll().prefix("range/");
  assert.deepEqual(await all.keys(), ["range/a", "range/b", "range/c"]);
  assert.equal(await client.getAll().prefix("range/").count(), 3);
  const newest = await client.getAll().prefix("range/").sort("Mod", "Descend").limit(1).strings();
  assert.deepEqual(newest, { "range/c": "c" });
  assert.equal((await client.delete().prefix("range/")).deleted, "3");
});

test("transactions", async () => {
  const create = () =>
    client.if("txn/a", "Create", "==", 0).then(client.put("txn/a").value("1")).else(client.get("txn/a")).commit();
  assert.equal((await create()).succeeded, true);
  const refused = await create();
  assert.equal(refused.succeeded, false);
  assert.equal(refused.responses[0].response_range.kvs[0].value.toString(), "1");
});

test("software transactional memory keeps the sum", async () => {
  await client.put("stm/a").value(100);
  await client.put("stm/b").value(100);
  const transfer = () =>
    client.stm({ isolation: SERIALIZABLE, retries: 20 }).transact(async (tx) => {
      const a = await tx.get("stm/a").number();
      const b = await tx.get("stm/b").number();
      await tx.put("stm/a").value(a - 1);
      await tx.put("stm/b").value(b + 1);
    });
  await Promise.all(Array.from({ length: 5 }, transfer));
  assert.deepEqual(await client.getAll().prefix("stm/").numbers(), { "stm/a": 95, "stm/b": 105 });
});

test("watch", async () => {
  const watcher = await client.watch().prefix("watch/").withPreviousKV().create();
  const told = [];
  const done = new Promise((resolve) => {
    watcher.on("put", (kv, before) => told.push(`put ${kv.key}=${kv.value} (${before?.value ?? ""})`));
    watcher.on("delete", (kv) => resolve(told.push(`delete ${kv.key}`)));
  });
  await client.put("watch/a").value("1");
  await client.put("watch/a").value("2");
  await client.delete().key("watch/a");
  await done;
  assert.deepEqual(told, ["put watch/a=1 ()", "put watch/a=2 (1)", "delete watch/a"]);
  await watcher.cancel();
});

test("watch from a past revision", async () => {
  const { header } = await client.put("past/a").value("1");
  await client.put("past/a").value("2");
  const watcher = client.watch().key("past/a").startRevision(header.revision).watcher();
  const values = [];
  while (values.length < 2) {
    const [answer] = await once(watcher, "data");
    values.push(...answer.events.map((event) => event.kv.value.toString()));
  }
  assert.deepEqual(values, ["1", "2"]);
  await watcher.cancel();
});

test("a lease keeps its keys while it is renewed", async () => {
  const lease = client.lease(60);
  await lease.put("lease/a").value("1");
  await lease.keepaliveOnce();
  assert.equal(await client.get("lease/a"), "1");
  await lease.revoke();
  assert.equal(await client.get("lease/a"), null);
});

test("a lost lease is noticed", async () => {
  const lease = client.lease(60, { autoKeepAlive: false });
  const id = await lease.grant();
  await client.leaseClient.leaseRevoke({ ID: id });
  const lost = once(lease, "lost");
  await assert.rejects(lease.keepaliveOnce());
  await lost;
});

test("a lock admits one", async () => {
  const lock = await client.lock("lock").ttl(30).acquire();
  await assert.rejects(client.lock("lock").acquire(), EtcdLockFailedError);
  await lock.release();
  await client.lock("lock").do(async () => {});
});

test("an election has a leader after the other", async () => {
  const election = client.election("election", 10);
  const first = election.campaign("first");
  await once(first, "elected");
  assert.equal(await election.leader(), "first");
  const second = election.campaign("second");
  const elected = once(second, "elected");
  await first.resign();
  await elected;
  assert.equal(await election.leader(), "second");
  await second.resign();
});

test("errors are known to the client", async () => {
  await assert.rejects(client.put("").value("1"), /key is not provided/);
  await assert.rejects(client.put("a").value("1").lease("4711"), EtcdLeaseInvalidError);
});

test("maintenance", async () => {
  const status = await client.maintenance.status();
  const { members } = await client.cluster.memberList({});
  assert.equal(status.leader, members[0].ID);
  assert.deepEqual(members[0].clientURLs, [`http://${process.env.ETCD_ENDPOINT}`]);
  assert.equal(typeof (await client.maintenance.hash()).hash, "number");
  await client.maintenance.defragment();
});
