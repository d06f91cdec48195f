//! Keys that were met, numbered, in bounded memory.

use std::collections::HashMap;

use foldhash::quality::RandomState;

/// Bytes of keys that are remembered at most; a key has some hundred.
const MOST_BYTES: usize = 32 << 20;

/// Key → number, from 0 in the order in which they were met.
pub struct Numbers {
    numbers: HashMap<Box<[u8]>, u32, RandomState>,
    most: usize,
    bytes: usize,
}

impl Numbers {
    /// Of `most` keys at most, as [`Numbers::is_full`] tells.
    pub fn new(most: usize) -> Self {
        Self {
            numbers: HashMap::default(),
            most,
            bytes: 0,
        }
    }

    /// The number of a key, which may be new.
    pub fn number(&mut self, key: &[u8]) -> u32 {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.bytes += key.len();
        self.numbers.insert(key.into(), number);
        number
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no more should be added.
    pub fn is_full(&self) -> bool {
        self.numbers.len() >= self.most || self.bytes >= MOST_BYTES
    }

    /// Forget all.
    pub fn clear(&mut self) {
        self.numbers.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, Numbers};

    #[test]
    fn keys_keep_their_numbers_until_there_are_too_many() {
        let mut numbers = Numbers::new(2);
        assert_eq!(numbers.number(b"a"), 0);
        assert_eq!(numbers.number(b"b"), 1);
        assert_eq!(numbers.number(b"a"), 0);
        assert!(numbers.is_full());
        numbers.clear();
        assert!(!numbers.is_full());
        assert_eq!(numbers.number(b"b"), 0);
    }

    #[test]
    fn large_keys_are_bounded_too() {
        let mut numbers = Numbers::new(1000);
        numbers.number(&vec![0; MOST_BYTES]);
        assert!(numbers.is_full());
    }
}
