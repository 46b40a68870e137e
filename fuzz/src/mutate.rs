//! Makes damaged inputs from well-formed ones.
//!
//! The sequence depends on the seed alone, so a failure is found again by its seed, on any machine.

/// No input grows longer, in bytes.
pub const INPUT_LEN_MAX: usize = 64 * 1024;

/// How many changes may be made to one seed.
const CHANGES_MAX: usize = 6;

/// Bytes that decoders stumble over: ends of ranges, and protobuf's continuation bit.
const EDGES: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff, 0x0a];

/// An endless sequence of inputs.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    random: Random,
    input: Vec<u8>,
}

impl Mutator {
    /// Starts from `seeds`, of which there must be one at least.
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Mutator {
        assert!(!seeds.is_empty(), "nothing to mutate");
        Mutator { seeds, random: Random(seed), input: Vec::new() }
    }

    /// The next input: a seed with one to six changes.
    pub fn next_input(&mut self) -> &[u8] {
        let base = self.random.below(self.seeds.len());
        self.input.clone_from(&self.seeds[base]);
        for _ in 0..=self.random.below(CHANGES_MAX) {
            self.change();
        }
        self.input.truncate(INPUT_LEN_MAX);
        &self.input
    }

    fn change(&mut self) {
        let at = self.random.below(self.input.len() + 1);
        match self.random.below(7) {
            0 => self.replace(at, 1, |random, old| vec![old[0] ^ (1 << random.below(8))]),
            1 => self.replace(at, 1, |random, _| vec![EDGES[random.below(EDGES.len())]]),
            2 => self.replace(at, 8, |random, old| random.number().to_le_bytes()[..old.len()].to_vec()),
            3 => self.replace(at, 16, |_, _| Vec::new()),
            4 => self.replace(at, 64, |_, old| [old, old].concat()),
            5 => self.input.truncate(at),
            _ => self.splice(at),
        }
    }

    /// Replaces up to `len_max` bytes at `at`; does nothing at the end of the input.
    fn replace(&mut self, at: usize, len_max: usize, with: impl Fn(&mut Random, &[u8]) -> Vec<u8>) {
        let len = (1 + self.random.below(len_max)).min(self.input.len() - at);
        if len > 0 {
            let new = with(&mut self.random, &self.input[at..at + len]);
            self.input.splice(at..at + len, new);
        }
    }

    /// Goes on with the tail of some seed.
    fn splice(&mut self, at: usize) {
        let other = self.random.below(self.seeds.len());
        let from = self.random.below(self.seeds[other].len() + 1);
        self.input.truncate(at);
        self.input.extend_from_slice(&self.seeds[other][from..]);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Small, huge and negative numbers alike: a random number of random bits.
    fn number(&mut self) -> u64 {
        let shift = self.below(64);
        let number = self.next() >> shift;
        if self.below(2) == 0 { number } else { number.wrapping_neg() }
    }
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
