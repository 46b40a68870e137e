//! Members of a cluster that answer the status that a test gives them, and refuse all other calls.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::{SendResponse, handshake};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use prost::Message;
use proto::etcdserverpb::StatusResponse;
use tokio::net::TcpStream;

/// Starts a member, which lives as long as the test, and returns its endpoint.
pub(crate) fn start(status: StatusResponse) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(listener, status));
    });
    address.to_string()
}

async fn serve(listener: TcpListener, status: StatusResponse) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(serve_connection(socket, status.clone()));
    }
}

async fn serve_connection(socket: TcpStream, status: StatusResponse) {
    let mut connection = handshake(socket).await.unwrap();
    while let Some(Ok((request, response))) = connection.accept().await {
        answer(&request, response, &status);
    }
}

fn answer<B>(request: &Request<B>, mut response: SendResponse<Bytes>, status: &StatusResponse) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = response.send_response(head, false).unwrap();
    let is_status = request.uri().path() == "/etcdserverpb.Maintenance/Status";
    if is_status {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(status.encoded_len()).unwrap());
        status.encode(&mut frame).unwrap();
        body.send_data(frame.freeze(), false).unwrap();
    }
    let code = if is_status { "0" } else { "12" };
    let code = (HeaderName::from_static("grpc-status"), HeaderValue::from_static(code));
    body.send_trailers(HeaderMap::from_iter([code])).unwrap();
}
