import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Uses the server at $ETCD_ENDPOINT through jetcd. */
@Timeout(60)
class JetcdTest {
    private static final Client CLIENT =
        Client.builder().endpoints("http://" + System.getenv("ETCD_ENDPOINT")).build();
    private static final KV KV_CLIENT = CLIENT.getKVClient();

    @AfterAll
    static void close() {
        CLIENT.close();
    }

    private static ByteSequence bytes(String text) {
        return ByteSequence.from(text, UTF_8);
    }

    private static List<String> keys(GetResponse response) {
        return response.getKvs().stream().map(kv -> kv.getKey().toString(UTF_8)).toList();
    }

    @Test
    void putGetDelete() throws Exception {
        KV_CLIENT.put(bytes("kv/a"), bytes("1")).get();
        var again = KV_CLIENT.put(bytes("kv/a"), bytes("2"), PutOption.builder().withPrevKV().build()).get();
        assertEquals(bytes("1"), again.getPrevKv().getValue());
        KeyValue kv = KV_CLIENT.get(bytes("kv/a")).get().getKvs().get(0);
        assertEquals(bytes("2"), kv.getValue());
        assertEquals(2, kv.getVersion());
        assertEquals(kv.getCreateRevision() + 1, kv.getModRevision());
        var old = GetOption.builder().withRevision(kv.getCreateRevision()).build();
        assertEquals(bytes("1"), KV_CLIENT.get(bytes("kv/a"), old).get().getKvs().get(0).getValue());
        assertEquals(1, KV_CLIENT.delete(bytes("kv/a")).get().getDeleted());
        assertEquals(0, KV_CLIENT.get(bytes("kv/a")).get().getCount());
    }

    @Test
    void ranges() throws Exception {
        for (String name : List.of("b", "a", "c")) {
            KV_CLIENT.put(bytes("range/" + name), bytes(name)).get();
        }
        var all = GetOption.builder().isPrefix(true).build();
        assertEquals(List.of("range/a", "range/b", "range/c"), keys(KV_CLIENT.get(bytes("range/"), all).get()));
        var newest = GetOption.builder().isPrefix(true).withLimit(2)
            .withSortField(GetOption.SortTarget.MOD).withSortOrder(GetOption.SortOrder.DESCEND).build();
        GetResponse page = KV_CLIENT.get(bytes("range/"), newest).get();
        assertEquals(List.of("range/c", "range/a"), keys(page));
        assertTrue(page.isMore());
        assertEquals(3, page.getCount());
        var prefix = DeleteOption.builder().isPrefix(true).withPrevKV(true).build();
        assertEquals(3, KV_CLIENT.delete(bytes("range/"), prefix).get().getPrevKvs().size());
    }

    @Test
    void transactions() throws Exception {
        assertTrue(create("txn/a").isSucceeded());
        TxnResponse refused = create("txn/a");
        assertFalse(refused.isSucceeded());
        assertEquals(List.of("txn/a"), keys(refused.getGetResponses().get(0)));
    }

    private static TxnResponse create(String key) throws Exception {
        return KV_CLIENT.txn()
            .If(new Cmp(bytes(key), Cmp.Op.EQUAL, CmpTarget.createRevision(0)))
            .Then(Op.put(bytes(key), bytes("1"), PutOption.DEFAULT))
            .Else(Op.get(bytes(key), GetOption.DEFAULT))
            .commit().get();
    }

    @Test
    void watchFromAPastRevision() throws Exception {
        long start = KV_CLIENT.put(bytes("watch/a"), bytes("1")).get().getHeader().getRevision();
        var option = WatchOption.builder().isPrefix(true).withRevision(start).withPrevKV(true).build();
        BlockingQueue<WatchResponse> responses = new LinkedBlockingQueue<>();
        try (var watcher = CLIENT.getWatchClient().watch(bytes("watch/"), option, responses::add)) {
            KV_CLIENT.put(bytes("watch/a"), bytes("2")).get();
            KV_CLIENT.delete(bytes("watch/a")).get();
            List<String> told = new ArrayList<>();
            while (told.size() < 3) {
                responses.take().getEvents().forEach(event -> told.add(describe(event)));
            }
            assertEquals(List.of("PUT watch/a=1 ()", "PUT watch/a=2 (1)", "DELETE watch/a= (2)"), told);
        }
    }

    private static String describe(WatchEvent event) {
        KeyValue kv = event.getKeyValue();
        return "%s %s=%s (%s)".formatted(event.getEventType(), kv.getKey(), kv.getValue(), event.getPrevKV().getValue());
    }

    @Test
    void watchOfCompactedHistory() throws Exception {
        long start = KV_CLIENT.put(bytes("compacted/a"), bytes("1")).get().getHeader().getRevision();
        long now = KV_CLIENT.put(bytes("compacted/a"), bytes("2")).get().getHeader().getRevision();
        KV_CLIENT.compact(now).get();
        CompletableFuture<Throwable> refusal = new CompletableFuture<>();
        var option = WatchOption.builder().withRevision(start).build();
        try (var watcher = CLIENT.getWatchClient().watch(bytes("compacted/a"), option, r -> {}, refusal::complete)) {
            var compacted = assertInstanceOf(CompactedException.class, refusal.get(30, TimeUnit.SECONDS));
            assertEquals(now, compacted.getCompactedRevision());
        }
    }

    @Test
    void leases() throws Exception {
        Lease leases = CLIENT.getLeaseClient();
        long id = leases.grant(60).get().getID();
        KV_CLIENT.put(bytes("lease/a"), bytes("1"), PutOption.builder().withLeaseId(id).build()).get();
        var left = leases.timeToLive(id, LeaseOption.builder().withAttachedKeys().build()).get();
        assertEquals(60, left.getGrantedTTL());
        assertEquals(List.of(bytes("lease/a")), left.getKeys());
        assertEquals(60, leases.keepAliveOnce(id).get().getTTL());
        leases.revoke(id).get();
        assertEquals(0, KV_CLIENT.get(bytes("lease/a")).get().getCount());
    }

    @Test
    void aLeaseLivesWhileItIsRenewed() throws Exception {
        Lease leases = CLIENT.getLeaseClient();
        long id = leases.grant(2).get().getID();
        BlockingQueue<LeaseKeepAliveResponse> renewals = new LinkedBlockingQueue<>();
        try (var alive = leases.keepAlive(id, new Renewals(renewals))) {
            for (int i = 0; i < 4; i++) {
                assertEquals(2, renewals.take().getTTL());
            }
        }
        long start = KV_CLIENT.put(bytes("expiry/a"), bytes("1"), PutOption.builder().withLeaseId(id).build())
            .get().getHeader().getRevision();
        BlockingQueue<WatchResponse> responses = new LinkedBlockingQueue<>();
        var option = WatchOption.builder().withRevision(start + 1).build();
        try (var watcher = CLIENT.getWatchClient().watch(bytes("expiry/a"), option, responses::add)) {
            assertEquals(WatchEvent.EventType.DELETE, responses.take().getEvents().get(0).getEventType());
        }
    }

    private record Renewals(BlockingQueue<LeaseKeepAliveResponse> seen) implements StreamObserver<LeaseKeepAliveResponse> {
        @Override
        public void onNext(LeaseKeepAliveResponse renewal) {
            seen.add(renewal);
        }

        @Override
        public void onError(Throwable cause) {
            throw new AssertionError(cause);
        }

        @Override
        public void onCompleted() {}
    }

    @Test
    void errors() {
        var unknown = PutOption.builder().withLeaseId(4711).build();
        var refusal = assertThrows(ExecutionException.class, () -> KV_CLIENT.put(bytes("a"), bytes("1"), unknown).get());
        assertEquals("NOT_FOUND: etcdserver: requested lease not found", refusal.getCause().getMessage());
    }
}
