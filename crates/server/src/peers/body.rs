//! Bodies of requests and answers between members.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::stream_writer::StreamWriter;

/// A body that this member sends.
#[derive(Debug)]
pub(super) enum PeerBody {
    /// One piece of bytes.
    Whole(Option<Bytes>),
    /// Pieces that another thread reads from a file.
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
    /// Messages, without end.
    Stream(Box<StreamWriter>),
}

impl PeerBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> PeerBody {
        PeerBody::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for PeerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            PeerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            PeerBody::Pieces(pieces) => pieces.poll_recv(cx).map(|piece| Some(piece?.map(Frame::data))),
            PeerBody::Stream(writer) => writer.poll_bytes(cx).map(|bytes| Some(Ok(Frame::data(bytes?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, PeerBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            PeerBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            PeerBody::Pieces(_) | PeerBody::Stream(_) => SizeHint::default(),
        }
    }
}
