package compat

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// patience is how long a whole test may take.
const patience = 2 * time.Minute

// connect returns a client of the server under test, and a context that ends the test if it hangs.
func connect(t *testing.T) (context.Context, *clientv3.Client) {
	t.Helper()
	endpoint := os.Getenv("ETCD_ENDPOINT")
	if endpoint == "" {
		t.Fatal("ETCD_ENDPOINT names no server: use compat/run")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	client := must(clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		// Refusals are what some tests want, and need no lines of a log.
		Logger: zap.NewNop(),
	}))
	t.Cleanup(func() {
		client.Close()
		cancel()
	})
	return ctx, client
}

// must returns the value of a call that has to succeed.
func must[T any](value T, err error) T {
	check(err)
	return value
}

// check ends the test, with a trace, if a call that has to succeed did not.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// equal ends the test unless got is what was expected.
func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// fails ends the test unless a call failed with just that error.
func fails(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got error %v, want %v", what, got, want)
	}
}

// next takes from a channel, and ends the test if nothing comes.
func next[T any](ctx context.Context, t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value, ok := <-from:
		if !ok {
			t.Fatalf("%s: the channel was closed", what)
		}
		return value
	case <-ctx.Done():
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}
