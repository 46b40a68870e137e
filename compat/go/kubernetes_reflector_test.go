package compat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// bookmarkInterval is how often an API server asks for progress while a consistent read waits for it.
const bookmarkInterval = 100 * time.Millisecond

// reflector keeps a copy of all objects by listing them once and watching from the revision of the list, as
// every controller does. It fails on any event that does not fit its copy.
type reflector struct {
	storage storage
	list    func(context.Context) (list, error)
	// objects holds the revision of the last change of each object.
	objects map[string]int64
	// revision is up to where the copy is complete, by events and bookmarks.
	revision int64
	nEvents  int
	nRelists int
}

// follow lists, then watches until the copy is complete up to a revision that comes from target.
func (r *reflector) follow(ctx context.Context, target <-chan int64) error {
	for {
		if err := r.relist(ctx); err != nil {
			return err
		}
		err := r.watch(ctx, target)
		// Too slow: what comes next is forgotten, so the copy is made anew.
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return err
		}
		r.nRelists++
	}
}

func (r *reflector) relist(ctx context.Context) error {
	got, err := r.list(ctx)
	for errors.Is(err, rpctypes.ErrCompacted) {
		r.nRelists++
		got, err = r.list(ctx)
	}
	if err != nil {
		return err
	}
	r.objects = revisions(got.kvs)
	r.revision = got.revision
	return nil
}

func (r *reflector) watch(ctx context.Context, target <-chan int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := r.storage.client.Watch(ctx, registry,
		clientv3.WithPrefix(), clientv3.WithRev(r.revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	bookmarks := time.Tick(bookmarkInterval)
	for end := int64(math.MaxInt64); r.revision < end; {
		select {
		case end = <-target:
		case <-bookmarks:
			if err := r.storage.client.RequestProgress(ctx); err != nil {
				return err
			}
		case response, ok := <-events:
			if !ok {
				return fmt.Errorf("the watch ended at revision %d: %w", r.revision, ctx.Err())
			}
			if err := r.take(response); err != nil {
				return err
			}
		}
	}
	return nil
}

// take applies one response of the watch.
func (r *reflector) take(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	seen := r.revision
	for _, event := range response.Events {
		if event.Kv.ModRevision <= seen {
			return fmt.Errorf("%s came after revision %d was complete", describe(event), seen)
		}
		if event.Kv.ModRevision < r.revision {
			return fmt.Errorf("%s of revision %d came after revision %d", describe(event), event.Kv.ModRevision, r.revision)
		}
		if err := r.apply(event); err != nil {
			return err
		}
		r.revision = event.Kv.ModRevision
		r.nEvents++
	}
	if response.IsProgressNotify() {
		if response.Header.Revision < r.revision {
			return fmt.Errorf("a bookmark of revision %d came after revision %d", response.Header.Revision, r.revision)
		}
		r.revision = response.Header.Revision
	}
	return nil
}

// apply changes the copy by one event, which has to follow on what the copy holds.
func (r *reflector) apply(event *clientv3.Event) error {
	key := string(event.Kv.Key)
	before, isThere := r.objects[key]
	if event.IsCreate() == isThere {
		return fmt.Errorf("%s of revision %d, but the object's last revision is %d", describe(event), event.Kv.ModRevision, before)
	}
	// The value before may have been compacted since; if it is there it has to be the right one.
	if event.PrevKv != nil && event.PrevKv.ModRevision != before {
		return fmt.Errorf("%s follows revision %d, but the last seen was %d", describe(event), event.PrevKv.ModRevision, before)
	}
	if event.Type == clientv3.EventTypeDelete {
		delete(r.objects, key)
	} else {
		r.objects[key] = event.Kv.ModRevision
	}
	return nil
}

// mismatch says how the copy differs from what is stored.
func (r *reflector) mismatch(stored []*mvccpb.KeyValue) error {
	if want := revisions(stored); !maps.Equal(r.objects, want) {
		return fmt.Errorf("the copy has %d objects, the store %d, and they differ", len(r.objects), len(want))
	}
	return nil
}

func revisions(kvs []*mvccpb.KeyValue) map[string]int64 {
	objects := make(map[string]int64, len(kvs))
	for _, kv := range kvs {
		objects[string(kv.Key)] = kv.ModRevision
	}
	return objects
}
