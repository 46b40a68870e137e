//! What this member asks of another over HTTP, from any thread: one request, one short answer.
//!
//! A question waits in a queue until the peers' thread takes it; there `asker.rs` sends it. Who asks sets a time
//! limit and drops the future then, which ends the request.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// Questions of all threads that may be under way. Each is of a call of a client or of a check that this member makes.
const QUESTIONS_MAX: usize = 16 << 10;

/// A request to a path of another member's peer port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) content: Content,
    /// Bytes of the answer that are read.
    pub(crate) answer_len_max: usize,
}

/// The method and the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A GET without a body.
    Get,
    /// A GET with JSON in its body, as etcd asks for hashes.
    GetJson(Bytes),
    /// A POST of bytes of this content type.
    Post(&'static str, Bytes),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code of HTTP.
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// A question that waits to be sent.
#[derive(Debug)]
pub(super) struct Asked {
    /// The member that is asked.
    pub(super) to: u64,
    pub(super) question: Question,
    pub(super) done: oneshot::Sender<io::Result<Reply>>,
    /// Given back when the question has ended.
    pub(super) place: OwnedSemaphorePermit,
}

/// Questions on their way to the peers' thread.
#[derive(Debug)]
pub(super) struct QuestionQueue {
    waiting: Mutex<Vec<Asked>>,
    arrived: Notify,
    places: Arc<Semaphore>,
}

impl Default for QuestionQueue {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(QUESTIONS_MAX));
        QuestionQueue { waiting: Mutex::default(), arrived: Notify::new(), places }
    }
}

impl QuestionQueue {
    /// Asks the member `to`, and waits for its answer for up to `limit`.
    pub(super) async fn ask(&self, to: u64, question: Question, limit: Duration) -> io::Result<Reply> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "too many questions to peers are under way",
            ));
        };
        let (done, answered) = oneshot::channel();
        self.lock().push(Asked { to, question, done, place });
        self.arrived.notify_one();
        match timeout(limit, answered).await {
            Ok(Ok(reply)) => reply,
            // The peers' thread is stopping.
            Ok(Err(_)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits for questions, and takes all of them.
    pub(super) async fn take(&self) -> Vec<Asked> {
        loop {
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { path: "/version".to_owned(), content: Content::Get, answer_len_max: 100 }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_waits_no_longer_than_its_limit() {
        let queue = QuestionQueue::default();
        let error = queue.ask(2, question(), Duration::from_secs(7)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let taken = queue.take().await;
        assert!(taken[0].done.is_closed(), "the peers' thread sees that nobody waits");
    }

    #[tokio::test]
    async fn a_question_that_is_dropped_unanswered_is_an_error() {
        let queue = QuestionQueue::default();
        let drop_all = async { drop(queue.take().await) };
        let (reply, ()) = tokio::join!(queue.ask(2, question(), Duration::from_secs(60)), drop_all);
        assert_eq!(reply.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(queue.places.available_permits(), QUESTIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_that_nobody_takes_are_bounded() {
        let queue = QuestionQueue::default();
        for _ in 0..QUESTIONS_MAX {
            assert!(queue.ask(2, question(), Duration::ZERO).await.is_err());
        }
        let error = queue.ask(2, question(), Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
