package compat

import (
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestLeaseEndsWithItsKeys(t *testing.T) {
	ctx, client := connect(t)
	lease := must(client.Grant(ctx, 100))
	equal(t, "ttl", lease.TTL, 100)
	start := must(client.Put(ctx, "lease/b", "1", clientv3.WithLease(lease.ID))).Header.Revision
	must(client.Put(ctx, "lease/a", "2", clientv3.WithLease(lease.ID)))
	must(client.Put(ctx, "lease/moved", "3", clientv3.WithLease(lease.ID)))
	must(client.Put(ctx, "lease/moved", "3"))
	left := must(client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	equal(t, "granted", left.GrantedTTL, 100)
	equal(t, "attached keys", len(left.Keys), 2)
	listed := must(client.Leases(ctx)).Leases
	equal(t, "is listed", slices.Contains(listed, clientv3.LeaseStatus{ID: lease.ID}), true)

	watch := client.Watch(ctx, "lease/", clientv3.WithPrefix(), clientv3.WithRev(start+4))
	must(client.Revoke(ctx, lease.ID))
	response := next(ctx, t, "the deletion", watch)
	equal(t, "one revision", response.Header.Revision, start+4)
	got := []string{describe(response.Events[0]), describe(response.Events[1])}
	equal(t, "its events", got, []string{"DELETE lease/a", "DELETE lease/b"})
	equal(t, "ttl of no lease", must(client.TimeToLive(ctx, lease.ID)).TTL, -1)
	_, err := client.Revoke(ctx, lease.ID)
	fails(t, "revoke again", err, rpctypes.ErrLeaseNotFound)
}

func TestLeaseExpires(t *testing.T) {
	ctx, client := connect(t)
	lease := must(client.Grant(ctx, 1))
	now := must(client.Put(ctx, "expiry/a", "1", clientv3.WithLease(lease.ID))).Header.Revision
	watch := client.Watch(ctx, "expiry/a", clientv3.WithRev(now+1))
	equal(t, "event", collect(ctx, t, watch, 1), []string{"DELETE expiry/a"})
	_, err := client.KeepAliveOnce(ctx, lease.ID)
	fails(t, "renewal", err, rpctypes.ErrLeaseNotFound)
}

func TestKeepAliveOutlivesTheTimeToLive(t *testing.T) {
	ctx, client := connect(t)
	lease := must(client.Grant(ctx, 2))
	must(client.Put(ctx, "alive/a", "1", clientv3.WithLease(lease.ID)))
	renewals := must(client.KeepAlive(ctx, lease.ID))
	// A renewal comes every second.
	for range 4 {
		equal(t, "ttl", next(ctx, t, "a renewal", renewals).TTL, 2)
	}
	equal(t, "keys", must(client.Get(ctx, "alive/a")).Count, 1)
	must(client.Revoke(ctx, lease.ID))
	for range renewals {
		// The client closes the channel when a renewal finds no lease.
	}
}

func TestLeaseIDs(t *testing.T) {
	ctx, client := connect(t)
	lease := must(client.Grant(ctx, 10))
	if lease.ID <= 0 {
		t.Fatalf("the server chose the id %d", lease.ID)
	}
	_, err := client.Grant(ctx, 9_000_000_001)
	fails(t, "ttl", err, rpctypes.ErrLeaseTTLTooLarge)
	must(client.Revoke(ctx, lease.ID))
}
