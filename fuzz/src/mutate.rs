//! Makes damaged inputs from well-formed ones.
//!
//! The sequence depends on the seed alone, so a failure is found again by its seed, on any machine.

use fastrand::Rng;

/// The longest input, in bytes.
pub const INPUT_LEN_MAX: usize = 64 * 1024;

/// Changes to one seed, at most.
const CHANGES_MAX: usize = 6;

/// Bytes that decoders often handle wrongly: ends of ranges, and protobuf's continuation bit.
const EDGES: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff, 0x0a];

/// An endless sequence of inputs.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    random: Rng,
    input: Vec<u8>,
}

impl Mutator {
    /// Starts from `seeds`, of which there must be one at least.
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Mutator {
        assert!(!seeds.is_empty(), "nothing to mutate");
        Mutator { seeds, random: Rng::with_seed(seed), input: Vec::new() }
    }

    /// The next input: a seed with one to six changes.
    pub fn next_input(&mut self) -> &[u8] {
        let base = self.random.usize(..self.seeds.len());
        self.input.clone_from(&self.seeds[base]);
        for _ in 0..=self.random.usize(..CHANGES_MAX) {
            self.change();
        }
        self.input.truncate(INPUT_LEN_MAX);
        &self.input
    }

    fn change(&mut self) {
        let at = self.random.usize(..self.input.len() + 1);
        match self.random.usize(..7) {
            0 => self.replace(at, 1, |random, old| vec![old[0] ^ (1 << random.usize(..8))]),
            1 => self.replace(at, 1, |random, _| vec![EDGES[random.usize(..EDGES.len())]]),
            2 => self.replace(at, 8, |random, old| number(random).to_le_bytes()[..old.len()].to_vec()),
            3 => self.replace(at, 16, |_, _| Vec::new()),
            4 => self.replace(at, 64, |_, old| [old, old].concat()),
            5 => self.input.truncate(at),
            _ => self.splice(at),
        }
    }

    /// Replaces up to `len_max` bytes at `at`; does nothing at the end of the input.
    fn replace(&mut self, at: usize, len_max: usize, with: impl Fn(&mut Rng, &[u8]) -> Vec<u8>) {
        let len = (1 + self.random.usize(..len_max)).min(self.input.len() - at);
        if len > 0 {
            let new = with(&mut self.random, &self.input[at..at + len]);
            self.input.splice(at..at + len, new);
        }
    }

    /// Replaces the rest by the end of another seed.
    fn splice(&mut self, at: usize) {
        let other = self.random.usize(..self.seeds.len());
        let from = self.random.usize(..self.seeds[other].len() + 1);
        self.input.truncate(at);
        self.input.extend_from_slice(&self.seeds[other][from..]);
    }
}

/// Small, huge and negative numbers alike: a random number of random bits.
fn number(random: &mut Rng) -> u64 {
    let number = random.u64(..) >> random.u32(..64);
    if random.bool() { number } else { number.wrapping_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(seed: u64) -> Vec<Vec<u8>> {
        let mut mutator = Mutator::new(vec![b"some bytes".to_vec(), vec![0; 100]], seed);
        (0..1_000).map(|_| mutator.next_input().to_vec()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn inputs_differ_and_stay_short() {
        let distinct: std::collections::BTreeSet<_> = inputs(1).into_iter().collect();
        assert!(distinct.len() > 700, "{} distinct inputs", distinct.len());
        let mut long = Mutator::new(vec![vec![1; INPUT_LEN_MAX]], 1);
        assert!((0..100).all(|_| long.next_input().len() <= INPUT_LEN_MAX));
    }

    #[test]
    fn an_empty_seed_is_no_obstacle() {
        let mut mutator = Mutator::new(vec![Vec::new()], 1);
        assert!((0..100).all(|_| mutator.next_input().is_empty()));
    }
}
