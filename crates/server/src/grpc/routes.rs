//! What the heads of calls mean, worked out once for calls whose headers are the same.
//!
//! A client repeats itself, and `http2` then hands out the same head again; what follows from it is found by
//! its address.

use std::collections::VecDeque;
use std::rc::Rc;

use http2::Head;

use super::preamble::{Preamble, Refusal};

/// Heads remembered; `http2` shares no more.
const KNOWN_MAX: usize = 4;

/// The last few heads, with what they mean to the service.
#[derive(Debug)]
pub(super) struct Routes<R> {
    known: VecDeque<Known<R>>,
}

#[derive(Debug)]
struct Known<R> {
    /// Held, so that its address is that of no other head.
    head: Rc<Head>,
    preamble: Preamble,
    route: Rc<R>,
}

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Routes { known: VecDeque::new() }
    }
}

impl<R> Routes<R> {
    /// What `head` says to the call layer and, by `read`, to the service.
    pub(super) fn find(
        &mut self,
        head: Rc<Head>,
        read: impl FnOnce(&Head) -> R,
    ) -> Result<(Preamble, Rc<R>), Refusal> {
        if let Some(known) = self.known.iter().find(|known| Rc::ptr_eq(&known.head, &head)) {
            return Ok((known.preamble, Rc::clone(&known.route)));
        }
        let (preamble, route) = (Preamble::read(&head)?, Rc::new(read(&head)));
        // `http2` does not keep this head, so it will not come again.
        if Rc::strong_count(&head) > 1 {
            self.known.truncate(KNOWN_MAX - 1);
            self.known.push_front(Known { head, preamble, route: Rc::clone(&route) });
        }
        Ok((preamble, route))
    }
}

#[cfg(test)]
mod tests {
    use http2::hpack::Field;

    use super::*;

    fn head() -> Rc<Head> {
        let mut head = Head::default();
        head.method = "POST".into();
        head.fields = vec![Field { name: "content-type".into(), value: "application/grpc".into() }];
        Rc::new(head)
    }

    #[test]
    fn shared_head_is_read_once() {
        let mut routes = Routes::default();
        let head = head();
        for _ in 0..2 {
            let (_, route) = routes.find(Rc::clone(&head), |_| Rc::strong_count(&head)).unwrap();
            assert_eq!(*route, 2, "the first reading");
        }
    }

    #[test]
    fn only_the_last_few_shared_heads_are_kept() {
        let mut routes = Routes::default();
        let heads: Vec<_> = (0..2 * KNOWN_MAX).map(|_| head()).collect();
        for shared in &heads {
            routes.find(Rc::clone(shared), |_| ()).unwrap();
            routes.find(head(), |_| ()).unwrap();
        }
        assert_eq!(routes.known.len(), KNOWN_MAX);
        assert!(
            routes.known.iter().all(|known| heads[KNOWN_MAX..].iter().any(|h| Rc::ptr_eq(h, &known.head)))
        );
    }
}
