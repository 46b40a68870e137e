//! The generator behind every choice that the simulated disk and the simulator make: equal seeds, equal choices.

/// A stream of pseudo-random numbers: SplitMix64 (Steele, Lea & Flood 2014), which has one word of state.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next number, of 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 0
    }
}

/// Spreads one number over all 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// How much of what was never synced outlives one crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    /// Nothing: the machine lost power before the cache was written.
    Nothing,
    /// Everything: the process died, or the cache had just been written.
    Everything,
    /// Some of it, in no order.
    Some,
}

impl Survival {
    pub(super) fn draw(random: &mut SplitMix64) -> Survival {
        match random.next_u64() % 4 {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Some,
        }
    }
}
