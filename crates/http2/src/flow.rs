//! Flow-control windows of a stream or of a connection (RFC 9113, §5.2 and §6.9).

/// The largest window there may be, in bytes.
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// The window of a side that has not said otherwise.
pub const WINDOW_DEFAULT: u32 = 65_535;

/// A window left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation;

/// What we may send. Below zero after the peer has lowered `SETTINGS_INITIAL_WINDOW_SIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendWindow(i64);

impl SendWindow {
    /// A window of `len` bytes.
    pub fn new(len: u32) -> SendWindow {
        SendWindow(len.into())
    }

    /// Bytes that may be sent now.
    pub fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Notes bytes that are sent: no more than there is room for.
    pub fn take(&mut self, len: usize) {
        assert!(len <= self.room(), "only what fits is sent");
        self.0 -= len as i64;
    }

    /// Adds what the peer granted, or the change of its initial window.
    pub fn grow(&mut self, by: i64) -> Result<(), Violation> {
        self.0 += by;
        if self.0 > WINDOW_MAX.into() { Err(Violation) } else { Ok(()) }
    }
}

/// What the peer may send. Room is given back in steps of half a window, so that small messages do not each
/// cost a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveWindow {
    size: u32,
    left: u32,
    /// Taken out by the owner and not yet given back.
    released: u32,
}

impl ReceiveWindow {
    /// A window that is never larger than `size` bytes.
    pub fn new(size: u32) -> ReceiveWindow {
        ReceiveWindow { size, left: size, released: 0 }
    }

    /// Notes bytes that have arrived.
    pub fn take(&mut self, len: u32) -> Result<(), Violation> {
        self.left = self.left.checked_sub(len).ok_or(Violation)?;
        Ok(())
    }

    /// Notes bytes that the owner has no more need of; returns what to grant the peer, if it is worth a
    /// frame.
    pub fn release(&mut self, len: u32) -> Option<u32> {
        self.released += len;
        if self.released < self.size / 2 {
            return None;
        }
        let granted = std::mem::take(&mut self.released);
        self.left += granted;
        Some(granted)
    }

    /// Bytes that have arrived and that the owner still holds.
    pub fn held(self) -> u32 {
        self.size - self.left - self.released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowered_window_is_paid_back_before_more_is_sent() {
        let mut window = SendWindow::new(100);
        window.take(60);
        window.grow(-90).unwrap();
        assert_eq!(window.room(), 0);
        window.grow(51).unwrap();
        assert_eq!(window.room(), 1);
    }

    #[test]
    fn window_beyond_the_largest_is_a_violation() {
        let mut window = SendWindow::new(WINDOW_MAX);
        assert_eq!(window.grow(1), Err(Violation));
    }

    #[test]
    fn room_is_given_back_by_the_half() {
        let mut window = ReceiveWindow::new(100);
        window.take(80).unwrap();
        assert_eq!(window.take(21), Err(Violation));
        assert_eq!(window.release(49), None);
        assert_eq!(window.held(), 31);
        assert_eq!(window.release(1), Some(50));
        window.take(70).unwrap();
        assert_eq!(window.held(), 100);
    }
}
