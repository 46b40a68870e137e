package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// describe writes an event as `PUT key=value` or `DELETE key`, with the value before in brackets.
func describe(event *clientv3.Event) string {
	text := fmt.Sprintf("%s %s", event.Type, event.Kv.Key)
	if event.Type == clientv3.EventTypePut {
		text += fmt.Sprintf("=%s", event.Kv.Value)
	}
	if event.PrevKv != nil {
		text += fmt.Sprintf(" (%s)", event.PrevKv.Value)
	}
	return text
}

// collect takes events until there are n of them.
func collect(ctx context.Context, t *testing.T, watch clientv3.WatchChan, n int) []string {
	t.Helper()
	events := []string{}
	for len(events) < n {
		response := next(ctx, t, "an event", watch)
		check(response.Err())
		for _, event := range response.Events {
			events = append(events, describe(event))
		}
	}
	return events
}

func TestWatchFromAPastRevision(t *testing.T) {
	ctx, client := connect(t)
	start := must(client.Put(ctx, "watch/a", "1")).Header.Revision
	must(client.Put(ctx, "watch/a", "2"))
	must(client.Delete(ctx, "watch/a"))
	watch := client.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(start), clientv3.WithPrevKV())
	want := []string{"PUT watch/a=1", "PUT watch/a=2 (1)", "DELETE watch/a (2)"}
	equal(t, "history", collect(ctx, t, watch, 3), want)

	must(client.Txn(ctx).Then(clientv3.OpPut("watch/b", "3"), clientv3.OpPut("watch/c", "4")).Commit())
	response := next(ctx, t, "the transaction", watch)
	equal(t, "events of one transaction in one response", len(response.Events), 2)
	equal(t, "their revision", response.Header.Revision, start+3)
}

func TestManyWatchesOnOneStream(t *testing.T) {
	ctx, client := connect(t)
	const n = 50
	watches := make([]clientv3.WatchChan, n)
	for i := range watches {
		watches[i] = client.Watch(ctx, fmt.Sprintf("many/%02d", i), clientv3.WithCreatedNotify())
		equal(t, "created", next(ctx, t, "the notice", watches[i]).Created, true)
	}
	for round := range 3 {
		for i := range watches {
			must(client.Put(ctx, fmt.Sprintf("many/%02d", i), fmt.Sprint(round)))
		}
	}
	for i, watch := range watches {
		want := fmt.Sprintf("PUT many/%02d=0,PUT many/%02d=1,PUT many/%02d=2", i, i, i)
		equal(t, "events", strings.Join(collect(ctx, t, watch, 3), ","), want)
	}
}

func TestWatchFilters(t *testing.T) {
	ctx, client := connect(t)
	start := must(client.Put(ctx, "filter/a", "1")).Header.Revision
	must(client.Delete(ctx, "filter/a"))
	must(client.Put(ctx, "filter/a", "2"))
	puts := client.Watch(ctx, "filter/a", clientv3.WithRev(start), clientv3.WithFilterDelete())
	equal(t, "puts", collect(ctx, t, puts, 2), []string{"PUT filter/a=1", "PUT filter/a=2"})
	deletes := client.Watch(ctx, "filter/a", clientv3.WithRev(start), clientv3.WithFilterPut())
	equal(t, "deletes", collect(ctx, t, deletes, 1), []string{"DELETE filter/a"})
}

func TestFragmentsAreOneResponse(t *testing.T) {
	ctx, client := connect(t)
	const n = 100
	puts := make([]clientv3.Op, n)
	for i := range puts {
		puts[i] = clientv3.OpPut(fmt.Sprintf("fragment/%02d", i), strings.Repeat("v", 14000))
	}
	must(client.Txn(ctx).Then(puts...).Commit())
	watch := client.Watch(ctx, "fragment/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithFragment())
	check(client.RequestProgress(ctx))
	next(ctx, t, "a progress notice", watch)
	// With the values before they are 2.8 MB: more than a message may have.
	must(client.Txn(ctx).Then(puts...).Commit())
	equal(t, "events", len(next(ctx, t, "the response", watch).Events), n)
}

func TestProgressOnRequest(t *testing.T) {
	ctx, client := connect(t)
	watch := client.Watch(ctx, "progress/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	next(ctx, t, "the notice", watch)
	now := must(client.Put(ctx, "elsewhere", "1")).Header.Revision
	check(client.RequestProgress(ctx))
	response := next(ctx, t, "progress", watch)
	equal(t, "is progress", response.IsProgressNotify(), true)
	equal(t, "its revision", response.Header.Revision, now)
}

func TestWatchOfCompactedHistory(t *testing.T) {
	ctx, client := connect(t)
	start := must(client.Put(ctx, "compacted/a", "1")).Header.Revision
	now := must(client.Put(ctx, "compacted/a", "2")).Header.Revision
	must(client.Compact(ctx, now))
	watch := client.Watch(ctx, "compacted/a", clientv3.WithRev(start))
	response := next(ctx, t, "the refusal", watch)
	fails(t, "watch", response.Err(), rpctypes.ErrCompacted)
	equal(t, "compact revision", response.CompactRevision, now)
	kept := client.Watch(ctx, "compacted/a", clientv3.WithRev(now))
	equal(t, "at the compacted revision", collect(ctx, t, kept, 1), []string{"PUT compacted/a=2"})
}

func TestWatchThatRequiresALeader(t *testing.T) {
	ctx, client := connect(t)
	watch := client.Watch(clientv3.WithRequireLeader(ctx), "leader/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	next(ctx, t, "the notice", watch)
	must(client.Put(clientv3.WithRequireLeader(ctx), "leader/a", "1"))
	equal(t, "event", collect(ctx, t, watch, 1), []string{"PUT leader/a=1"})
}
