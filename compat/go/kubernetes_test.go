package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	nObjects    = 2000
	nWriters    = 4
	nWrites     = 3000
	nReflectors = 10
	// compactInterval stands for the five minutes of an API server.
	compactInterval = 500 * time.Millisecond
)

func object(n int) string {
	return fmt.Sprintf("%snamespace-%d/pod-%04d", registry, n%7, n)
}

// TestKubernetesStorage does for some seconds what an API server does all day: two thousand objects are created,
// changed and deleted by writers who get into each other's way, history is compacted, and ten controllers
// list and watch. None of them may miss an event or see one twice.
func TestKubernetesStorage(t *testing.T) {
	ctx, client := connect(t)
	s := storage{client}
	populate(ctx, t, s)

	compacting, stopCompacting := context.WithCancel(ctx)
	compacted := make(chan int64, 1)
	go func() {
		n, revision := s.compactRegularly(compacting, compactInterval)
		t.Logf("%d compactions, the last at revision %d", n, revision)
		compacted <- revision
	}()
	reflectors, targets, results := startReflectors(ctx, s)
	write(ctx, s)
	checkLists(ctx, t, s)

	stored := must(client.Get(ctx, registry, clientv3.WithPrefix()))
	for i, reflector := range reflectors {
		targets[i] <- stored.Header.Revision
		check(next(ctx, t, "the end of a watch", results[i]))
		check(reflector.mismatch(stored.Kvs))
		t.Logf("reflector %d: %d events, %d lists made anew", i, reflector.nEvents, reflector.nRelists)
	}
	stopCompacting()
	last := next(ctx, t, "the end of compactions", compacted)
	if last == 0 {
		t.Fatal("nothing was compacted")
	}
	_, err := client.Get(ctx, registry, clientv3.WithPrefix(), clientv3.WithLimit(pageLimit), clientv3.WithRev(last-1))
	fails(t, "a page of a list that is too old", err, rpctypes.ErrCompacted)
}

// populate creates all objects, some of them under a lease that they share.
func populate(ctx context.Context, t *testing.T, s storage) {
	lease := must(s.client.Grant(ctx, 3600)).ID
	for n := range nObjects {
		id := clientv3.NoLease
		if n%10 == 0 {
			id = lease
		}
		equal(t, "created", s.create(ctx, object(n), fmt.Sprint(n), id), true)
	}
	equal(t, "created again", s.create(ctx, object(7), "again", clientv3.NoLease), false)
}

func startReflectors(ctx context.Context, s storage) ([]*reflector, []chan int64, []chan error) {
	reflectors := make([]*reflector, nReflectors)
	targets := make([]chan int64, nReflectors)
	results := make([]chan error, nReflectors)
	for i := range reflectors {
		reflectors[i] = &reflector{storage: s, list: s.pages}
		if i%2 == 1 {
			reflectors[i].list = s.stream
		}
		targets[i], results[i] = make(chan int64, 1), make(chan error, 1)
		go func() { results[i] <- reflectors[i].follow(ctx, targets[i]) }()
	}
	return reflectors, targets, results
}

// write changes objects at random from several writers at once, the same seeds each time.
func write(ctx context.Context, s storage) {
	var wait sync.WaitGroup
	for writer := range nWriters {
		random := rand.New(rand.NewPCG(1, uint64(writer)))
		wait.Go(func() {
			for i := range nWrites {
				// Half of the writes meet in few objects.
				key := object(random.IntN(nObjects))
				if i%2 == 0 {
					key = object(random.IntN(10))
				}
				value := fmt.Sprintf("%d-%d-%s", writer, i, strings.Repeat("x", random.IntN(1000)))
				if random.IntN(10) == 0 {
					value = ""
				}
				if !s.change(ctx, key, value) && value != "" {
					s.create(ctx, key, value, clientv3.NoLease)
				}
			}
		})
	}
	wait.Wait()
}

// checkLists compares both ways to list with one plain range at the same revision.
func checkLists(ctx context.Context, t *testing.T, s storage) {
	for name, listing := range map[string]func(context.Context) (list, error){"pages": s.pages, "stream": s.stream} {
		got := must(listing(ctx))
		want := must(s.client.Get(ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(got.revision)))
		equal(t, name, fmt.Sprint(got.kvs), fmt.Sprint(want.Kvs))
		count := must(s.client.Get(ctx, registry, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(got.revision)))
		equal(t, "count", count.Count, int64(len(got.kvs)))
	}
}
