//! Shapes of lines that were met: the pieces of their kinds' keys, as a tree.
//!
//! A line that has the pieces of an earlier one, and sound values between them, would be cut as that
//! one was: what [`crate::json`] does next depends on the bytes between the holes alone. So such a line
//! needs no cutting, and its key no making: at its end the tree has the number of its kind. Most lines
//! are read so, at a fifth of the cost.

use crate::json::{Cuts, Hole, Line};
use crate::record::{Parts, Varying};

/// Pieces in the tree at most, and those that may follow one; lines with others are cut.
const MOST: usize = 16_384;
const MOST_NEXT: usize = 128;
/// Bytes of a piece that is remembered.
const LONGEST: usize = 4096;

/// What follows a piece.
#[derive(Clone, Copy)]
enum Then {
    Hole(Hole, usize),
    /// Nothing: the line is over, and of this kind.
    End(u32),
}

struct Step {
    piece: Box<[u8]>,
    then: Then,
}

/// The tree: for each node the steps that go on from it, those that come often first.
pub struct Shapes {
    nodes: Vec<Vec<Step>>,
    steps: usize,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            nodes: vec![Vec::new()],
            steps: 0,
        }
    }
}

impl Shapes {
    /// Read a line that has a known shape: the number of its kind, and what varies.
    ///
    /// `parts` has then all parts but the kind's key.
    pub fn read<'a>(
        &mut self,
        line: &'a [u8],
        parts: &mut Parts<'a>,
    ) -> Option<(u32, Varying<'a>)> {
        parts.clear();
        let mut scan = Line::new(line, 0, parts);
        let mut node = 0;
        loop {
            let steps = &mut self.nodes[node];
            let at = steps.iter().position(|step| fits(step, &scan))?;
            let then = steps[at].then;
            scan.read.go(steps[at].piece.len());
            steps.swap(at, at.saturating_sub(1));
            match then {
                Then::End(kind) => return Some((kind, scan.varying)),
                Then::Hole(hole, next) => {
                    scan.take(hole)?;
                    node = next;
                }
            }
        }
    }

    /// Remember how a line of this kind was cut.
    pub fn add(&mut self, cuts: &Cuts<'_>, kind: u32) {
        let mut node = 0;
        for (piece, hole) in &cuts.pieces {
            let known = self.nodes[node].iter().find_map(|step| match step.then {
                Then::Hole(_, next) if *step.piece == **piece => Some(next),
                _ => None,
            });
            let next = known.or_else(|| {
                let next = self.nodes.len();
                self.put(node, piece, Then::Hole(*hole, next))
                    .then(|| self.nodes.push(Vec::new()))
                    .map(|()| next)
            });
            let Some(next) = next else { return };
            node = next;
        }
        self.put(node, cuts.last, Then::End(kind));
    }

    fn put(&mut self, node: usize, piece: &[u8], then: Then) -> bool {
        let steps = &mut self.nodes[node];
        let room = self.steps < MOST && steps.len() < MOST_NEXT && piece.len() <= LONGEST;
        if room {
            self.steps += 1;
            steps.push(Step {
                piece: piece.into(),
                then,
            });
        }
        room
    }
}

fn fits(step: &Step, scan: &Line<'_, '_>) -> bool {
    match step.then {
        Then::End(_) => scan.read.rest() == &*step.piece,
        Then::Hole(..) => scan.read.rest().starts_with(&step.piece),
    }
}
