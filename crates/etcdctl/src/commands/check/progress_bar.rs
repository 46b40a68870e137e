//! A bar on standard error that shows how far a check is: `3 / 60 [-->_____] 5.00% 1 p/s`.
//!
//! It is drawn five times a second. On a terminal each drawing replaces the one before; elsewhere they follow one
//! another without a break, as etcd's do.

use std::fs::File;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

const REFRESH: Duration = Duration::from_millis(200);
/// The width where there is no terminal.
const WIDTH_WITHOUT_TERMINAL: usize = 100;
/// The time between two samples of the speed.
const SAMPLE_MIN: Duration = Duration::from_millis(500);
/// The weight of a sample in the average speed.
const SAMPLE_WEIGHT: f64 = 2.0 / 31.0;

/// A bar that is being shown. Dropping it leaves the bar where it is.
pub(super) struct ProgressBar {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ProgressBar {
    /// Shows how much `done` says is done, of `total`.
    pub(super) fn show(total: u64, done: impl Fn() -> u64 + Send + 'static) -> Self {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut drawing = Drawing { total, speed: Speed::default() };
            let mut ticks = interval_at(Instant::now() + REFRESH, REFRESH);
            loop {
                tokio::select! {
                    _ = ticks.tick() => write(&mut drawing, done(), false),
                    ended = &mut ended => {
                        if ended.is_ok() {
                            write(&mut drawing, done(), true);
                        }
                        return;
                    }
                }
            }
        });
        ProgressBar { end, task }
    }

    /// Draws the bar a last time.
    pub(super) async fn finish(self) {
        let _ = self.end.send(());
        self.task.await.expect("drawing does not panic");
    }
}

/// Draws the bar on standard error. That nobody reads it does not matter to the check.
fn write(drawing: &mut Drawing, done: u64, is_last: bool) {
    let width = terminal_width();
    let line = drawing.line(Instant::now(), done, is_last, width);
    let text = match (stderr().is_terminal(), is_last) {
        (true, true) => format!("\r{line:width$}\n"),
        (true, false) => format!("\r{line:width$}"),
        (false, _) => line,
    };
    let _ = stderr().write_all(text.as_bytes());
}

/// The width of the terminal that the process belongs to.
fn terminal_width() -> usize {
    let size = match File::open("/dev/tty") {
        Ok(terminal) => tcgetwinsize(terminal),
        Err(_) => tcgetwinsize(stdin()),
    };
    size.map_or(WIDTH_WITHOUT_TERMINAL, |size| size.ws_col.into())
}

struct Drawing {
    total: u64,
    speed: Speed,
}

impl Drawing {
    /// The whole line, as wide as the terminal: the bar takes the room that the texts leave.
    fn line(&mut self, now: Instant, done: u64, is_last: bool, width: usize) -> String {
        let percentage = done as f64 / (self.total as f64 / 100.0);
        let left = format!("{done} / {} ", self.total);
        let right = format!(" {percentage:.2}% {}", self.speed.text(now, done, is_last));
        match width.saturating_sub(left.len() + right.len()) {
            0 => (left + &right).chars().take(width).collect(),
            room => format!("{left}{}{right}", bar(self.total, done, is_last, room)),
        }
    }
}

/// A bar of `room` characters, at least one.
fn bar(total: u64, done: u64, is_last: bool, room: usize) -> String {
    let Some(room) = room.checked_sub(2).filter(|room| *room > 0) else {
        return ["[", "[]"][room - 1].to_owned();
    };
    let total = total.max(done);
    let filled = (done as f64 / total as f64 * room as f64).ceil() as usize;
    let filled = filled.min(room);
    let rest = "_".repeat(room - filled);
    if is_last && done == total {
        format!("[{}{rest}]", "-".repeat(filled))
    } else if filled == 0 {
        format!("[{rest}]")
    } else {
        format!("[{}>{rest}]", "-".repeat(filled - 1))
    }
}

/// The speed, averaged over samples so that it does not jump. The last text has the speed of the whole.
#[derive(Default)]
struct Speed {
    average: f64,
    first: Option<Instant>,
    sample: Option<(Instant, u64)>,
}

impl Speed {
    fn text(&mut self, now: Instant, done: u64, is_last: bool) -> String {
        let speed = self.now(now, done, is_last);
        if speed == 0.0 { "? p/s".to_owned() } else { format!("{} p/s", speed.round() as u64) }
    }

    fn now(&mut self, now: Instant, done: u64, is_last: bool) -> f64 {
        let (Some(first), Some((sampled, done_then))) = (self.first, self.sample) else {
            self.first = Some(now);
            self.sample = Some((now, done));
            return 0.0;
        };
        if is_last {
            let elapsed = now.duration_since(first).as_secs_f64();
            return if elapsed > 0.0 { done as f64 / elapsed } else { 0.0 };
        }
        let elapsed = now.duration_since(sampled);
        if elapsed >= SAMPLE_MIN {
            let speed = done.abs_diff(done_then) as f64 / elapsed.as_secs_f64();
            // An average of zero counts as none.
            let weight = if self.average == 0.0 { 1.0 } else { SAMPLE_WEIGHT };
            self.average = speed * weight + self.average * (1.0 - weight);
            self.sample = Some((now, done));
        }
        self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws at these milliseconds what was done by then, as etcd's did when it was recorded.
    fn drawn(total: u64, steps: &[(u64, u64)], is_last: bool, width: usize) -> String {
        let start = Instant::now();
        let mut drawing = Drawing { total, speed: Speed::default() };
        let (last, before) = steps.split_last().unwrap();
        let at = |millis| start + Duration::from_millis(millis);
        for (millis, done) in before {
            drawing.line(at(*millis), *done, false, width);
        }
        drawing.line(at(last.0), last.1, is_last, width)
    }

    #[test]
    fn the_bar_takes_the_room_that_is_left() {
        let first = "0 / 60 [_______________________________________________________________________________] 0.00% ? p/s";
        assert_eq!(drawn(60, &[(200, 0)], false, 100), first);
        let second = "1 / 60 [->_____________________________________________________________________________] 1.67% ? p/s";
        assert_eq!(drawn(60, &[(200, 0), (1000, 1)], false, 100).replace("1 p/s", "? p/s"), second);
        let almost = "59 / 60 [--------------------------------------------------------------------------->_] 98.33% 1 p/s";
        let steps: Vec<_> = (1..300).map(|tick| (tick * 200, tick / 5)).collect();
        assert_eq!(drawn(60, &steps, false, 100), almost);
        let steps: Vec<_> = (1..=300).map(|tick| (tick * 200, tick / 5)).collect();
        let last = "60 / 60 [----------------------------------------------------------------------------] 100.00% 1 p/s";
        assert_eq!(drawn(60, &steps, true, 100), last);
    }

    #[test]
    fn the_speed_follows_its_samples_slowly() {
        let steps = [(0, 0), (500, 50), (1000, 150)];
        assert!(drawn(1000, &steps[..2], false, 100).ends_with("5.00% 100 p/s"));
        // 100 + (200 - 100) * 2 / 31
        assert!(drawn(1000, &steps, false, 100).ends_with("15.00% 106 p/s"));
        let too_soon = [(0, 0), (500, 50), (900, 150)];
        assert!(drawn(1000, &too_soon, false, 100).ends_with("15.00% 100 p/s"));
        assert!(drawn(1000, &steps, true, 100).ends_with("15.00% 150 p/s"));
    }

    #[test]
    fn a_narrow_terminal_cuts_the_line() {
        let narrow = |width| drawn(60, &[(200, 30)], false, width);
        assert_eq!(narrow(0), "");
        assert_eq!(narrow(10), "30 / 60  5");
        assert_eq!(narrow(21), "30 / 60  50.00% ? p/s");
        assert_eq!(narrow(22), "30 / 60 [ 50.00% ? p/s");
        assert_eq!(narrow(23), "30 / 60 [] 50.00% ? p/s");
        assert_eq!(narrow(25), "30 / 60 [>_] 50.00% ? p/s");
    }

    #[test]
    fn more_than_all_fills_the_bar() {
        assert_eq!(bar(10, 20, false, 6), "[--->]");
        assert_eq!(bar(10, 20, true, 6), "[----]");
    }
}
