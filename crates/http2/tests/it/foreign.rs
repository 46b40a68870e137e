//! A client of another implementation, over a pipe: what it sends arrives, and what it is sent it understands.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use http::{HeaderName, HeaderValue, Request};
use http2::{Config, Connection, Event, Payload, Policy, StreamId, hpack};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime;
use tokio::task::LocalSet;

/// What the server has of a request: its header fields and its content.
#[derive(Debug, Default)]
struct Asked {
    fields: Vec<(Bytes, Bytes)>,
    content: BytesMut,
}

/// Answers each request with its own header fields and its own content.
async fn serve(mut io: DuplexStream) {
    let keepalive = Policy {
        min_interval: Duration::from_secs(5),
        ping_after: Duration::from_secs(7200),
        ping_timeout: Duration::from_secs(20),
    };
    let config = Config { concurrent_streams_max: u32::MAX, keepalive };
    let mut connection = Connection::<Asked>::new(config, Instant::now());
    let mut input = BytesMut::new();
    while write(&mut io, &mut connection).await && io.read_buf(&mut input).await.is_ok_and(|len| len > 0) {
        let mut bytes = input.split().freeze();
        while let Some(event) = connection.next_event(&mut bytes, Instant::now()).unwrap() {
            take(&mut connection, event);
        }
        input = BytesMut::from(&bytes[..]);
    }
}

async fn write(io: &mut DuplexStream, connection: &mut Connection<Asked>) -> bool {
    loop {
        connection.fill_output(|_| {});
        let mut slices = [IoSlice::new(&[]); 8];
        let n = connection.output().slices(&mut slices);
        if n == 0 {
            return true;
        }
        let Ok(len) = io.write_vectored(&slices[..n]).await else { return false };
        connection.output().advance(len);
    }
}

fn take(connection: &mut Connection<Asked>, event: Event<Asked>) {
    match event {
        Event::Request { id, head, is_end } => {
            let fields = head.fields.iter().map(|field| (field.name.clone(), field.value.clone()));
            connection.owner(id).unwrap().fields = fields.collect();
            if is_end {
                answer(connection, id);
            }
        }
        Event::Data { id, data, is_end } => {
            connection.release(id, data.len());
            connection.owner(id).unwrap().content.extend_from_slice(&data);
            if is_end {
                answer(connection, id);
            }
        }
        Event::StreamGone { .. } | Event::Handled => {}
    }
}

fn answer(connection: &mut Connection<Asked>, id: StreamId) {
    let Asked { fields, content } = std::mem::take(connection.owner(id).unwrap());
    let mut block = Vec::new();
    hpack::encode([(":status", &b"200"[..])], &mut block);
    let fields = fields.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap(), &value[..]));
    hpack::encode(fields, &mut block);
    let mut end = Vec::new();
    hpack::encode([("length", content.len().to_string().as_bytes())], &mut end);
    connection.respond(id, &block, Payload { head: b"", chunks: &[content.freeze()] }, &end);
}

type Fields = BTreeMap<String, Vec<u8>>;

/// Sends one request, and checks that it comes back.
async fn exchange(mut send: SendRequest<Bytes>, fields: Fields, content: Vec<u8>) {
    let mut request = Request::post("http://test/path").body(()).unwrap();
    for (name, value) in &fields {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, HeaderValue::from_bytes(value).unwrap());
    }
    let (response, mut body) = send.send_request(request, content.is_empty()).unwrap();
    if !content.is_empty() {
        body.send_data(Bytes::from(content.clone()), true).unwrap();
    }
    let (head, mut stream) = response.await.unwrap().into_parts();
    let headers =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    assert_eq!(headers.collect::<Fields>(), fields);
    let mut received = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        received.extend_from_slice(&chunk);
    }
    assert_eq!(received, content);
    let trailers = stream.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["length"], content.len().to_string());
}

async fn exchange_all(requests: Vec<(Fields, Vec<u8>)>, window: u32, table_len: u32, pipe_len: usize) {
    let (client, server) = tokio::io::duplex(pipe_len);
    let mut builder = Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(window).header_table_size(table_len);
    let (send, connection) = builder.handshake(client).await.unwrap();
    tokio::spawn(connection);
    let server = tokio::task::spawn_local(serve(server));
    let send = send.ready().await.unwrap();
    let exchanges: Vec<_> = requests
        .into_iter()
        .map(|(fields, content)| tokio::spawn(exchange(send.clone(), fields, content)))
        .collect();
    for exchange in exchanges {
        exchange.await.unwrap();
    }
    drop(send);
    server.await.unwrap();
}

fn fields() -> impl Strategy<Value = Fields> {
    let name =
        prop_oneof!["x-[a-z0-9_-]{0,30}", Just("authorization".to_owned()), Just("user-agent".to_owned())];
    let value = prop_oneof![
        "[!-~]([ -~]{0,40}[!-~])?".prop_map(String::into_bytes),
        vec(0x80_u8..=0xff, 1..40),
        Just(vec![b'v'; 5000]),
    ];
    proptest::collection::btree_map(name, value, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn requests_come_back_whole(
        requests in vec((fields(), prop_oneof![vec(any::<u8>(), 0..100), vec(any::<u8>(), 30_000..100_000)]), 1..12),
        window in prop_oneof![Just(1_u32), 100_u32..70_000, Just(1 << 20)],
        table_len in prop_oneof![Just(0_u32), Just(100), Just(4096), Just(65_536)],
        pipe_len in prop_oneof![Just(100_usize), Just(1 << 20)],
    ) {
        // A window of one byte means a frame for each.
        let window = if requests.iter().any(|(_, content)| content.len() > 1000) { window.max(10_000) } else { window };
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, exchange_all(requests, window, table_len, pipe_len));
    }
}
