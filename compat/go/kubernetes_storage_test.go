package compat

import (
	"context"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// registry is where the objects of an API server lie.
	registry = "/registry/pods/"
	// pageLimit is how many objects a page of a list has.
	pageLimit = 500
	// compactRevKey is where API servers agree who compacts, and when.
	compactRevKey = "compact_rev_key"
)

// storage sends the requests that the storage layer of an API server sends.
type storage struct {
	client *clientv3.Client
}

// list is what a consistent list returned: objects as of a revision.
type list struct {
	kvs      []*mvccpb.KeyValue
	revision int64
}

// create stores a new object; false if it is there already.
func (s storage) create(ctx context.Context, key, value string, lease clientv3.LeaseID) bool {
	return must(s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(lease))).
		Else(clientv3.OpGet(key)).
		Commit()).Succeeded
}

// change replaces an object, or deletes it if value is empty, guarded by the revision last seen; on a conflict
// it tries again with what the transaction returned. False if there is no object.
func (s storage) change(ctx context.Context, key, value string) bool {
	kvs := must(s.client.Get(ctx, key)).Kvs
	for len(kvs) == 1 {
		write := clientv3.OpPut(key, value)
		if value == "" {
			write = clientv3.OpDelete(key)
		}
		answer := must(s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", kvs[0].ModRevision)).
			Then(write).
			Else(clientv3.OpGet(key)).
			Commit())
		if answer.Succeeded {
			return true
		}
		kvs = answer.Responses[0].GetResponseRange().Kvs
	}
	return false
}

// pages lists all objects in pages that continue at the revision of the first.
func (s storage) pages(ctx context.Context) (list, error) {
	var got list
	for from, more := registry, true; more; {
		page, err := s.client.Get(ctx, from,
			clientv3.WithRange(clientv3.GetPrefixRangeEnd(registry)),
			clientv3.WithLimit(pageLimit), clientv3.WithRev(got.revision))
		if err != nil {
			return list{}, err
		}
		if got.revision == 0 {
			got.revision = page.Header.Revision
		}
		got.kvs = append(got.kvs, page.Kvs...)
		if more = page.More; more {
			from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		}
	}
	return got, nil
}

// stream lists all objects by one stream of chunks.
func (s storage) stream(ctx context.Context) (list, error) {
	chunks, err := s.client.GetStream(ctx, registry, clientv3.WithPrefix())
	if err != nil {
		return list{}, err
	}
	var got list
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			return list{}, err
		}
		got.kvs = append(got.kvs, chunk.RangeResponse.Kvs...)
		got.revision = chunk.RangeResponse.Header.GetRevision()
	}
	return got, nil
}

// compactRegularly forgets what is older than the interval before, as long as the context lives. Of all API
// servers the one whose transaction succeeds does it, at the revision that it saw an interval ago.
func (s storage) compactRegularly(ctx context.Context, interval time.Duration) (nCompactions int, compacted int64) {
	var round, revision int64
	for ticks := time.Tick(interval); ; {
		select {
		case <-ctx.Done():
			return nCompactions, compacted
		case <-ticks:
		}
		ctx := context.WithoutCancel(ctx)
		answer := must(s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.Version(compactRevKey), "=", round)).
			Then(clientv3.OpPut(compactRevKey, strconv.FormatInt(revision, 10))).
			Else(clientv3.OpGet(compactRevKey)).
			Commit())
		if !answer.Succeeded {
			round = answer.Responses[0].GetResponseRange().Kvs[0].Version
		} else {
			round++
			if revision != 0 {
				must(s.client.Compact(ctx, revision))
				nCompactions++
				compacted = revision
			}
		}
		revision = answer.Header.Revision
	}
}
