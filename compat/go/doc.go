// Package compat uses a server through etcd's own Go client, as programs out there do.
//
// The tests run against the server at $ETCD_ENDPOINT, which nobody else uses, and one after the other, since
// a compaction takes history away from all. Each keeps to keys of its own.
package compat
