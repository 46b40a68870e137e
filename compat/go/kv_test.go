package compat

import (
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func keys(kvs []*mvccpb.KeyValue) []string {
	names := []string{}
	for _, kv := range kvs {
		names = append(names, string(kv.Key))
	}
	return names
}

func TestPutGetDelete(t *testing.T) {
	ctx, client := connect(t)
	first := must(client.Put(ctx, "kv/a", "1")).Header.Revision
	again := must(client.Put(ctx, "kv/a", "2", clientv3.WithPrevKV()))
	equal(t, "previous value", string(again.PrevKv.Value), "1")
	equal(t, "revision", again.Header.Revision, first+1)

	got := must(client.Get(ctx, "kv/a"))
	equal(t, "count", got.Count, 1)
	kv := got.Kvs[0]
	equal(t, "create, mod, version", []int64{kv.CreateRevision, kv.ModRevision, kv.Version}, []int64{first, first + 1, 2})
	old := must(client.Get(ctx, "kv/a", clientv3.WithRev(first)))
	equal(t, "old value", string(old.Kvs[0].Value), "1")
	equal(t, "header of an old read", old.Header.Revision, first+1)

	deleted := must(client.Delete(ctx, "kv/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	equal(t, "deleted", deleted.Deleted, 1)
	equal(t, "deleted value", string(deleted.PrevKvs[0].Value), "2")
	nothing := must(client.Delete(ctx, "kv/", clientv3.WithPrefix()))
	equal(t, "revision after deleting nothing", nothing.Header.Revision, first+2)
}

func TestRangeOptions(t *testing.T) {
	ctx, client := connect(t)
	for i, name := range []string{"c", "a", "b", "d"} {
		must(client.Put(ctx, "range/"+name, fmt.Sprint(9-i)))
	}
	get := func(options ...clientv3.OpOption) *clientv3.GetResponse {
		return must(client.Get(ctx, "range/", append(options, clientv3.WithPrefix())...))
	}
	page := get(clientv3.WithLimit(2))
	equal(t, "page", keys(page.Kvs), []string{"range/a", "range/b"})
	equal(t, "page has more", page.More, true)
	equal(t, "page counts all", page.Count, 4)
	byValue := get(clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend))
	equal(t, "by value", keys(byValue.Kvs), []string{"range/d", "range/b", "range/a", "range/c"})
	newest := get(clientv3.WithLastRev()...)
	equal(t, "newest", keys(newest.Kvs), []string{"range/d"})
	oldest := get(clientv3.WithFirstCreate()...)
	equal(t, "oldest", keys(oldest.Kvs), []string{"range/c"})
	since := get(clientv3.WithMinModRev(newest.Kvs[0].ModRevision - 1))
	equal(t, "of the last two revisions", keys(since.Kvs), []string{"range/b", "range/d"})
	equal(t, "filters do not count", since.Count, 4)
	equal(t, "values of a range of keys", string(get(clientv3.WithKeysOnly()).Kvs[0].Value), "")
	equal(t, "count only", get(clientv3.WithCountOnly()).Count, 4)
	equal(t, "serializable", get(clientv3.WithSerializable()).Count, 4)
	fromKey := must(client.Get(ctx, "range/c", clientv3.WithFromKey(), clientv3.WithLimit(2)))
	equal(t, "from a key on", keys(fromKey.Kvs), []string{"range/c", "range/d"})
}

func TestRangeStreamIsTheRangeInChunks(t *testing.T) {
	ctx, client := connect(t)
	for i := range 100 {
		must(client.Put(ctx, fmt.Sprintf("stream/%03d", i), fmt.Sprint(i)))
	}
	want := must(client.Get(ctx, "stream/", clientv3.WithPrefix()))
	var got clientv3.GetResponse
	for chunk := range must(client.GetStream(ctx, "stream/", clientv3.WithPrefix())) {
		check(chunk.Err())
		if got.Header != nil {
			t.Fatal("a chunk came after the one with the header")
		}
		got.Kvs = append(got.Kvs, chunk.RangeResponse.Kvs...)
		got.Header, got.Count, got.More = chunk.RangeResponse.Header, chunk.RangeResponse.Count, chunk.RangeResponse.More
	}
	equal(t, "keys", keys(got.Kvs), keys(want.Kvs))
	equal(t, "revision", got.Header.GetRevision(), want.Header.Revision)
	equal(t, "count", got.Count, want.Count)
	equal(t, "more", got.More, false)
}

func TestTxn(t *testing.T) {
	ctx, client := connect(t)
	create := func() *clientv3.TxnResponse {
		return must(client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision("txn/a"), "=", 0)).
			Then(clientv3.OpPut("txn/a", "1"), clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.Version("txn/a"), "=", 0)},
				[]clientv3.Op{clientv3.OpPut("txn/b", "2")},
				nil,
			)).
			Else(clientv3.OpGet("txn/", clientv3.WithPrefix())).
			Commit())
	}
	created := create()
	equal(t, "created", created.Succeeded, true)
	equal(t, "nested", created.Responses[1].GetResponseTxn().Succeeded, true)
	refused := create()
	equal(t, "created again", refused.Succeeded, false)
	kvs := refused.Responses[0].GetResponseRange().Kvs
	equal(t, "keys", keys(kvs), []string{"txn/a", "txn/b"})
	equal(t, "one revision", kvs[0].ModRevision, kvs[1].ModRevision)
	all := clientv3.Compare(clientv3.ModRevision("txn/"), "=", kvs[0].ModRevision).WithPrefix()
	value := clientv3.Compare(clientv3.Value("txn/b"), ">", "1")
	equal(t, "compares of a range and a value", must(client.Txn(ctx).If(all, value).Commit()).Succeeded, true)
}

func TestErrorsAreKnownToTheClient(t *testing.T) {
	ctx, client := connect(t)
	now := must(client.Put(ctx, "errors/a", "1")).Header.Revision
	_, err := client.Put(ctx, "", "1")
	fails(t, "put without a key", err, rpctypes.ErrEmptyKey)
	_, err = client.Get(ctx, "errors/a", clientv3.WithRev(now+100))
	fails(t, "get of the future", err, rpctypes.ErrFutureRev)
	_, err = client.Txn(ctx).Then(clientv3.OpPut("errors/a", "1"), clientv3.OpPut("errors/a", "2")).Commit()
	fails(t, "the same key twice", err, rpctypes.ErrDuplicateKey)
	_, err = client.Txn(ctx).Then(slices.Repeat([]clientv3.Op{clientv3.OpGet("errors/a")}, 129)...).Commit()
	fails(t, "129 operations", err, rpctypes.ErrTooManyOps)
	_, err = client.Put(ctx, "errors/none", "", clientv3.WithIgnoreValue())
	fails(t, "the value of no key", err, rpctypes.ErrKeyNotFound)
	_, err = client.Put(ctx, "errors/a", "", clientv3.WithLease(4711))
	fails(t, "put with no such lease", err, rpctypes.ErrLeaseNotFound)
	_, err = client.Put(ctx, "errors/a", string(make([]byte, 1600*1024)))
	fails(t, "put of 1.6 MB", err, rpctypes.ErrRequestTooLarge)
	must(client.Compact(ctx, now))
	_, err = client.Compact(ctx, now)
	fails(t, "compact again", err, rpctypes.ErrCompacted)
	_, err = client.Get(ctx, "errors/a", clientv3.WithRev(now-1))
	fails(t, "get of what is compacted", err, rpctypes.ErrCompacted)
}

func TestMaintenance(t *testing.T) {
	ctx, client := connect(t)
	endpoint := client.Endpoints()[0]
	members := must(client.MemberList(ctx)).Members
	equal(t, "members", len(members), 1)
	equal(t, "client URLs", members[0].ClientURLs, []string{"http://" + endpoint})
	check(client.Sync(ctx))
	status := must(client.Status(ctx, endpoint))
	equal(t, "leader", status.Leader, members[0].ID)
	if status.Version < "3.7" || status.DbSize == 0 || status.RaftAppliedIndex == 0 {
		t.Fatalf("status: %v", status)
	}
	hash := must(client.HashKV(ctx, endpoint, 0))
	equal(t, "hashed revision", hash.HashRevision, hash.Header.Revision)
	equal(t, "alarms", len(must(client.AlarmList(ctx)).Alarms), 0)
	must(client.Defragment(ctx, endpoint))
	must(client.MoveLeader(ctx, members[0].ID))
	auth := must(client.AuthStatus(ctx))
	equal(t, "auth is on", auth.Enabled, false)
}
