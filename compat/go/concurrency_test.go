package compat

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func session(t *testing.T, client *clientv3.Client) *concurrency.Session {
	session := must(concurrency.NewSession(client, concurrency.WithTTL(6)))
	t.Cleanup(func() { session.Close() })
	return session
}

func TestMutexAdmitsOne(t *testing.T) {
	ctx, client := connect(t)
	must(client.Put(ctx, "mutex/counter", "0"))
	const workers, rounds = 8, 10
	var wait sync.WaitGroup
	for range workers {
		mutex := concurrency.NewMutex(session(t, client), "mutex/lock")
		wait.Go(func() {
			for range rounds {
				check(mutex.Lock(ctx))
				got := must(client.Get(ctx, "mutex/counter"))
				next := must(strconv.Atoi(string(got.Kvs[0].Value))) + 1
				write := clientv3.OpPut("mutex/counter", strconv.Itoa(next))
				if !must(client.Txn(ctx).If(mutex.IsOwner()).Then(write).Commit()).Succeeded {
					t.Error("the holder of the lock does not own it")
				}
				check(mutex.Unlock(ctx))
			}
		})
	}
	wait.Wait()
	counter := string(must(client.Get(ctx, "mutex/counter")).Kvs[0].Value)
	equal(t, "counter", counter, strconv.Itoa(workers*rounds))
}

func TestTryLock(t *testing.T) {
	ctx, client := connect(t)
	ours := concurrency.NewMutex(session(t, client), "try")
	theirs := concurrency.NewMutex(session(t, client), "try")
	check(ours.TryLock(ctx))
	fails(t, "lock of a locked mutex", theirs.TryLock(ctx), concurrency.ErrLocked)
	check(ours.Unlock(ctx))
	check(theirs.TryLock(ctx))
}

func TestSessionEndsWithItsLease(t *testing.T) {
	ctx, client := connect(t)
	session := session(t, client)
	mutex := concurrency.NewMutex(session, "session")
	check(mutex.Lock(ctx))
	must(client.Revoke(ctx, session.Lease()))
	<-session.Done()
	equal(t, "keys left", must(client.Get(ctx, "session/", clientv3.WithPrefix())).Count, 0)
}

func TestElection(t *testing.T) {
	ctx, client := connect(t)
	first := concurrency.NewElection(session(t, client), "election")
	second := concurrency.NewElection(session(t, client), "election")
	check(first.Campaign(ctx, "first"))
	leaders := second.Observe(ctx)
	leader := func() string { return string(next(ctx, t, "a leader", leaders).Kvs[0].Value) }
	equal(t, "leader", leader(), "first")
	check(first.Proclaim(ctx, "first again"))
	equal(t, "leader", leader(), "first again")

	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "second") }()
	for must(client.Get(ctx, "election/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count < 2 {
		// The second candidate has yet to enter.
	}
	check(first.Resign(ctx))
	check(next(ctx, t, "the end of the campaign", won))
	equal(t, "leader", leader(), "second")
	fails(t, "proclaim without office", first.Proclaim(ctx, "x"), concurrency.ErrElectionNotLeader)
}

func TestSTMKeepsTheSum(t *testing.T) {
	const accounts, transfers, workers = 5, 20, 6
	for _, level := range []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads} {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			ctx, client := connect(t)
			account := func(n int) string { return fmt.Sprintf("stm/%d/%d", level, n) }
			for n := range accounts {
				must(client.Put(ctx, account(n), "100"))
			}
			var wait sync.WaitGroup
			for worker := range workers {
				wait.Go(func() {
					for i := range transfers {
						from, to := account((worker+i)%accounts), account((worker+2*i+1)%accounts)
						check(transfer(ctx, client, level, from, to))
					}
				})
			}
			wait.Wait()
			sum := 0
			for n := range accounts {
				sum += must(strconv.Atoi(string(must(client.Get(ctx, account(n))).Kvs[0].Value)))
			}
			equal(t, "sum", sum, 100*accounts)
		})
	}
}

// transfer moves 1 from one account to another, which may be the same.
func transfer(ctx context.Context, client *clientv3.Client, level concurrency.Isolation, from, to string) error {
	move := func(stm concurrency.STM) error {
		add := func(account string, n int) {
			stm.Put(account, strconv.Itoa(must(strconv.Atoi(stm.Get(account)))+n))
		}
		add(from, -1)
		add(to, 1)
		return nil
	}
	_, err := concurrency.NewSTM(client, move, concurrency.WithAbortContext(ctx), concurrency.WithIsolation(level))
	return err
}
