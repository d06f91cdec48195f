//! The key of a kind: everything of a record but its varying parts.

/// Pieces of a record, each behind its length, so that no two lists of pieces are the same bytes.
#[derive(Default)]
pub struct Key {
    bytes: Vec<u8>,
}

impl Key {
    /// Begin anew.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Add one piece.
    pub fn push(&mut self, piece: &[u8]) {
        // A record is shorter than 4 GiB: whoever calls has looked (`record::LONGEST`).
        self.bytes
            .extend_from_slice(&(piece.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(piece);
    }

    /// The pieces and their lengths.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    fn key(pieces: &[&[u8]]) -> Vec<u8> {
        let mut key = Key::default();
        for piece in pieces {
            key.push(piece);
        }
        key.as_bytes().to_vec()
    }

    #[test]
    fn pieces_cut_elsewhere_are_another_key() {
        let keys = [
            key(&[b"ab", b"c"]),
            key(&[b"a", b"bc"]),
            key(&[b"abc"]),
            key(&[b"abc", b""]),
            key(&[b"", b"abc"]),
        ];
        for (i, one) in keys.iter().enumerate() {
            for other in &keys[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }
}
