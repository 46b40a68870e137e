"""The calls of etcd's API to one member, and a watch that collects what it sees."""

import queue
import threading
import time

import grpc
from etcdserverpb import rpc_pb2 as pb
from etcdserverpb import rpc_pb2_grpc as services

# More than the longest time-out of a member, so that its own text arrives.
CALL_SECONDS = 15
# How long a test waits for what has to happen.
WAIT_SECONDS = 40
NO_SUCH_SERVER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", -1),
    # Members come back at the same address: a connection that failed is not shared with the next client.
    ("grpc.use_local_subchannel_pool", 1),
]


def wait_until(what, condition, seconds=WAIT_SECONDS):
    """Asks `condition` until it answers with something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def prefix_end(prefix):
    """The end of the range of all keys that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Client:
    """Calls to one member. An answer that is an error is raised as `grpc.RpcError`."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.kv = services.KVStub(self.channel)
        self.lease = services.LeaseStub(self.channel)
        self.cluster = services.ClusterStub(self.channel)
        self.maintenance = services.MaintenanceStub(self.channel)
        self.watches = services.WatchStub(self.channel)

    def close(self):
        self.channel.close()

    def put(self, key, value, lease=0):
        return self.kv.Put(pb.PutRequest(key=key, value=value, lease=lease), timeout=CALL_SECONDS)

    def begin_put(self, key, value):
        """A put whose answer is not waited for."""
        return self.kv.Put.future(pb.PutRequest(key=key, value=value), timeout=CALL_SECONDS)

    def put_many(self, keys, value, window=64):
        """Puts all keys, `window` at a time."""
        pending = []
        for key in keys:
            pending.append(self.begin_put(key, value))
            if len(pending) == window:
                pending.pop(0).result()
        for call in pending:
            call.result()

    def get(self, prefix, revision=0, serializable=False):
        """The keys that begin with `prefix`."""
        request = pb.RangeRequest(
            key=prefix, range_end=prefix_end(prefix), revision=revision, serializable=serializable
        )
        return self.kv.Range(request, timeout=CALL_SECONDS)

    def delete(self, prefix):
        request = pb.DeleteRangeRequest(key=prefix, range_end=prefix_end(prefix), prev_kv=True)
        return self.kv.DeleteRange(request, timeout=CALL_SECONDS)

    def create(self, key, value):
        """A transaction: puts the key if it does not exist, else reads it."""
        absent = pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=0)
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))
        read = pb.RequestOp(request_range=pb.RangeRequest(key=key))
        return self.kv.Txn(pb.TxnRequest(compare=[absent], success=[put], failure=[read]), timeout=CALL_SECONDS)

    def compact(self, revision):
        return self.kv.Compact(pb.CompactionRequest(revision=revision, physical=True), timeout=CALL_SECONDS)

    def grant(self, ttl, lease=0):
        return self.lease.LeaseGrant(pb.LeaseGrantRequest(TTL=ttl, ID=lease), timeout=CALL_SECONDS)

    def revoke(self, lease):
        return self.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease), timeout=CALL_SECONDS)

    def keep_alive(self, lease):
        """Renews the lease once."""
        requests = iter([pb.LeaseKeepAliveRequest(ID=lease)])
        return next(self.lease.LeaseKeepAlive(requests, timeout=CALL_SECONDS))

    def time_to_live(self, lease):
        return self.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease, keys=True), timeout=CALL_SECONDS)

    def leases(self):
        answer = self.lease.LeaseLeases(pb.LeaseLeasesRequest(), timeout=CALL_SECONDS)
        return {lease.ID for lease in answer.leases}

    def status(self):
        return self.maintenance.Status(pb.StatusRequest(), timeout=CALL_SECONDS)

    def hash_kv(self, revision):
        return self.maintenance.HashKV(pb.HashKVRequest(revision=revision), timeout=CALL_SECONDS)

    def defragment(self):
        return self.maintenance.Defragment(pb.DefragmentRequest(), timeout=CALL_SECONDS)

    def move_leader(self, target):
        return self.maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=target), timeout=CALL_SECONDS)

    def alarms(self):
        """The members with an alarm, and which."""
        return {(alarm.memberID, alarm.alarm) for alarm in self._alarm(pb.AlarmRequest.GET, 0).alarms}

    def raise_no_space(self, member):
        return self._alarm(pb.AlarmRequest.ACTIVATE, member)

    def disarm(self, member):
        return self._alarm(pb.AlarmRequest.DEACTIVATE, member)

    def _alarm(self, action, member):
        kind = pb.NONE if action == pb.AlarmRequest.GET else pb.NOSPACE
        return self.maintenance.Alarm(pb.AlarmRequest(action=action, memberID=member, alarm=kind), timeout=CALL_SECONDS)

    def members(self):
        answer = self.cluster.MemberList(pb.MemberListRequest(linearizable=True), timeout=CALL_SECONDS)
        return list(answer.members)

    def member_add(self, url, learner=False):
        request = pb.MemberAddRequest(peerURLs=[url], isLearner=learner)
        return self.cluster.MemberAdd(request, timeout=CALL_SECONDS)

    def member_remove(self, member):
        return self.cluster.MemberRemove(pb.MemberRemoveRequest(ID=member), timeout=CALL_SECONDS)

    def member_update(self, member, url):
        return self.cluster.MemberUpdate(pb.MemberUpdateRequest(ID=member, peerURLs=[url]), timeout=CALL_SECONDS)

    def member_promote(self, member):
        return self.cluster.MemberPromote(pb.MemberPromoteRequest(ID=member), timeout=CALL_SECONDS)

    def watch(self, prefix, revision):
        return Watch(self, prefix, revision)


class Watch:
    """Collects all changes below a prefix from a revision on, on a thread of its own."""

    def __init__(self, client, prefix, revision):
        self.events = []
        self.ended = None
        create = pb.WatchCreateRequest(
            key=prefix, range_end=prefix_end(prefix), start_revision=revision, prev_kv=True
        )
        self.requests = queue.SimpleQueue()
        self.requests.put(pb.WatchRequest(create_request=create))
        self.call = client.watches.Watch(iter(self.requests.get, None))
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        try:
            for answer in self.call:
                if answer.canceled:
                    self.ended = answer.cancel_reason
                self.events.extend(answer.events)
        except grpc.RpcError as error:
            self.ended = error

    def until(self, revision):
        """What was seen up to the revision, once something at it or behind it was seen."""
        wait_until(
            f"a watch sees revision {revision}",
            lambda: self.events and self.events[-1].kv.mod_revision >= revision,
        )
        return [
            event.SerializeToString(deterministic=True)
            for event in self.events
            if event.kv.mod_revision <= revision
        ]

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.thread.join()
