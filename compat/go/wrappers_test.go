package compat

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

func TestNamespace(t *testing.T) {
	ctx, client := connect(t)
	kv := namespace.NewKV(client.KV, "ns/")
	watch := namespace.NewWatcher(client.Watcher, "ns/").Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	next(ctx, t, "the notice", watch)
	must(kv.Put(ctx, "a", "1"))
	must(kv.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).Then(clientv3.OpPut("b", "2")).Commit())
	equal(t, "inside", keys(must(kv.Get(ctx, "", clientv3.WithPrefix())).Kvs), []string{"a", "b"})
	equal(t, "outside", keys(must(client.Get(ctx, "ns/", clientv3.WithPrefix())).Kvs), []string{"ns/a", "ns/b"})
	equal(t, "events", collect(ctx, t, watch, 2), []string{"PUT a=1", "PUT b=2"})
	lease := must(client.Grant(ctx, 60))
	must(kv.Put(ctx, "leased", "3", clientv3.WithLease(lease.ID)))
	left := must(namespace.NewLease(client.Lease, "ns/").TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	equal(t, "attached key", string(left.Keys[0]), "leased")
	must(client.Revoke(ctx, lease.ID))
}

func TestOrderingNeverGoesBack(t *testing.T) {
	ctx, client := connect(t)
	kv := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	for i := range 50 {
		must(kv.Put(ctx, "ordering/a", fmt.Sprint(i)))
		got := must(kv.Get(ctx, "ordering/a", clientv3.WithSerializable()))
		equal(t, "value", string(got.Kvs[0].Value), fmt.Sprint(i))
	}
}

func TestMirror(t *testing.T) {
	ctx, client := connect(t)
	const n = 2500
	for i := 0; i < n; i += 100 {
		puts := make([]clientv3.Op, 100)
		for j := range puts {
			puts[j] = clientv3.OpPut(fmt.Sprintf("mirror/%04d", i+j), "1")
		}
		must(client.Txn(ctx).Then(puts...).Commit())
	}
	syncer := mirror.NewSyncer(client, "mirror/", 0)
	pages, failures := syncer.SyncBase(ctx)
	mirrored := []string{}
	for page := range pages {
		mirrored = append(mirrored, keys(page.Kvs)...)
	}
	check(<-failures)
	equal(t, "mirrored", mirrored, keys(must(client.Get(ctx, "mirror/", clientv3.WithPrefix())).Kvs))
	updates := syncer.SyncUpdates(ctx)
	must(client.Put(ctx, "mirror/0007", "2"))
	must(client.Delete(ctx, "mirror/0008"))
	equal(t, "updates", collect(ctx, t, updates, 2), []string{"PUT mirror/0007=2", "DELETE mirror/0008"})
}

func TestLeasing(t *testing.T) {
	ctx, client := connect(t)
	open := func() clientv3.KV {
		kv, stop, err := leasing.NewKV(client, "leasing/")
		check(err)
		t.Cleanup(stop)
		return kv
	}
	ours, theirs := open(), open()
	must(client.Put(ctx, "leased/a", "1"))
	equal(t, "first read", string(must(ours.Get(ctx, "leased/a")).Kvs[0].Value), "1")
	equal(t, "lease key", must(client.Get(ctx, "leasing/leased/a")).Count, 1)
	equal(t, "read again", string(must(ours.Get(ctx, "leased/a")).Kvs[0].Value), "1")
	must(theirs.Put(ctx, "leased/a", "2"))
	equal(t, "read after a foreign write", string(must(ours.Get(ctx, "leased/a")).Kvs[0].Value), "2")
	must(ours.Put(ctx, "leased/a", "3"))
	must(ours.Delete(ctx, "leased/a"))
	equal(t, "read after a deletion", must(theirs.Get(ctx, "leased/a")).Count, 0)
}
