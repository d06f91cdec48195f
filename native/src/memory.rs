//! What is known of parts: their keys, numbered, and what each was said to be, in bounded memory.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::before::Before;
use crate::json::Cuts;
use crate::numbers::Numbers;
use crate::record::{LONGEST, Parts, Varying};
use crate::shapes::Shapes;
use crate::{json, wire};

/// The numbers of a record's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    pub kind: u32,
    pub source: u32,
    pub destination: u32,
    pub names: u32,
}

impl From<(u32, u32, u32, u32)> for Which {
    fn from((kind, source, destination, names): (u32, u32, u32, u32)) -> Self {
        Self {
            kind,
            source,
            destination,
            names,
        }
    }
}

/// A record that was looked at: where it is, and what was recognised.
pub struct Found<'a> {
    pub start: usize,
    pub end: usize,
    pub recognised: Option<(Which, Varying<'a>)>,
}

/// Finds records, and numbers their parts. Nothing of Python's in it.
pub struct Reader {
    kinds: Numbers,
    endpoints: Numbers,
    names: Numbers,
    shapes: Shapes,
    before: Before,
    /// How often it has begun anew.
    turn: u64,
}

impl Reader {
    fn new(limit: usize) -> Self {
        Self {
            kinds: Numbers::new(limit),
            endpoints: Numbers::new(limit),
            names: Numbers::new(limit),
            shapes: Shapes::default(),
            before: Before::default(),
            turn: 0,
        }
    }

    /// The records of a block of lines; their places are those in the block.
    pub fn lines<'a>(&mut self, block: &'a [u8]) -> Vec<Found<'a>> {
        self.make_room();
        let mut cuts = Cuts::default();
        let mut parts = Parts {
            before: std::mem::take(&mut self.before),
            ..Parts::default()
        };
        let mut found = Vec::new();
        let mut start = 0;
        while start < block.len() {
            let rest = &block[start..];
            let line = memchr::memchr(b'\n', rest).map_or(rest, |length| &rest[..length]);
            let end = (start + line.len() + 1).min(block.len());
            found.push(Found {
                start,
                end,
                recognised: self.line(line, &mut parts, &mut cuts),
            });
            start = end;
        }
        self.before = parts.before;
        found
    }

    fn line<'a>(
        &mut self,
        line: &'a [u8],
        parts: &mut Parts<'a>,
        cuts: &mut Cuts<'a>,
    ) -> Option<(Which, Varying<'a>)> {
        if line.len() > LONGEST {
            return None;
        }
        if let Some((kind, varying)) = self.shapes.read(line, parts) {
            return Some((self.which(kind, parts), varying));
        }
        let varying = json::record(line, parts, cuts)?;
        let kind = self.kinds.number(parts.kind.as_bytes());
        self.shapes.add(cuts, kind);
        Some((self.which(kind, parts), varying))
    }

    /// The records that are these messages; their places are those in the list.
    pub fn messages<'a>(&mut self, messages: &[&'a [u8]], latest: u64) -> Vec<Found<'a>> {
        self.make_room();
        let mut parts = Parts::default();
        let each = messages.iter().enumerate().map(|(place, message)| {
            let varying = (message.len() <= LONGEST)
                .then(|| wire::record(message, &mut parts, latest))
                .flatten();
            Found {
                start: place,
                end: place + 1,
                recognised: varying.map(|varying| {
                    let kind = self.kinds.number(parts.kind.as_bytes());
                    (self.which(kind, &parts), varying)
                }),
            }
        });
        each.collect()
    }

    fn which(&mut self, kind: u32, parts: &Parts<'_>) -> Which {
        Which {
            kind,
            source: self.endpoints.number(parts.source),
            destination: self.endpoints.number(parts.destination),
            names: self.names.number(parts.names.as_bytes()),
        }
    }

    /// Begin anew when there is too much; never amid a block, whose numbers must stay.
    fn make_room(&mut self) {
        let mut all = [&mut self.kinds, &mut self.endpoints, &mut self.names];
        if all.iter().any(|one| one.is_full()) {
            all.iter_mut().for_each(|one| one.clear());
            self.shapes = Shapes::default();
            self.turn += 1;
        }
    }
}

/// What a kind was said to be.
pub struct Kind<T> {
    pub kind: T,
    /// What goes with it.
    pub more: T,
    /// Which of the names its records have.
    pub view: u32,
}

/// Kind's view, source, destination, names.
type Ends = (u32, u32, u32, u32);

/// A reader, and what it was told that the parts are.
pub struct Memory<T> {
    pub reader: Reader,
    kinds: Vec<Option<Kind<T>>>,
    endpoints: Vec<Option<T>>,
    /// By view and number.
    names: HashMap<(u32, u32), T, RandomState>,
    ends: HashMap<Ends, T, RandomState>,
    limit: usize,
    /// The reader's, of which all this is.
    turn: u64,
}

impl<T> Memory<T> {
    /// Of some `limit` values of each part.
    pub fn new(limit: usize) -> Self {
        Self {
            reader: Reader::new(limit),
            kinds: Vec::new(),
            endpoints: Vec::new(),
            names: HashMap::default(),
            ends: HashMap::default(),
            limit,
            turn: 0,
        }
    }

    /// How often it has begun anew.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Catch up with the reader, after each block.
    pub fn begin(&mut self) {
        if self.turn != self.reader.turn {
            self.turn = self.reader.turn;
            self.kinds.clear();
            self.endpoints.clear();
            self.names.clear();
            self.ends.clear();
        }
        self.kinds.resize_with(self.reader.kinds.len(), || None);
        self.endpoints
            .resize_with(self.reader.endpoints.len(), || None);
        if self.ends.len() >= self.limit {
            self.ends.clear();
        }
    }

    /// Whether all parts of a record are known; `join` makes ends of them, once.
    pub fn join<E>(
        &mut self,
        which: &Which,
        join: impl FnOnce(&T, &T, &T) -> Result<T, E>,
    ) -> Result<bool, E> {
        let Some(Kind { view, .. }) = part(&self.kinds, which.kind) else {
            return Ok(false);
        };
        let key = ends_of(*view, which);
        if !self.ends.contains_key(&key) {
            let (Some(source), Some(destination), Some(names)) = (
                part(&self.endpoints, which.source),
                part(&self.endpoints, which.destination),
                self.names.get(&(*view, which.names)),
            ) else {
                return Ok(false);
            };
            let ends = join(source, destination, names)?;
            self.ends.insert(key, ends);
        }
        Ok(true)
    }

    /// Kind and ends of a record, where [`Memory::join`] has said that they are known.
    pub fn known(&self, which: &Which) -> Option<(&Kind<T>, &T)> {
        let kind = part(&self.kinds, which.kind)?;
        Some((kind, self.ends.get(&ends_of(kind.view, which))?))
    }

    /// Take in what the parts of a record are.
    pub fn learn(&mut self, which: &Which, kind: Kind<T>, source: T, destination: T, names: T) {
        let view = kind.view;
        put(&mut self.endpoints, which.source, source);
        put(&mut self.endpoints, which.destination, destination);
        put(&mut self.kinds, which.kind, kind);
        self.names.insert((view, which.names), names);
    }
}

fn ends_of(view: u32, which: &Which) -> Ends {
    (view, which.source, which.destination, which.names)
}

fn part<T>(parts: &[Option<T>], number: u32) -> Option<&T> {
    parts.get(number as usize)?.as_ref()
}

fn put<T>(parts: &mut [Option<T>], number: u32, value: T) {
    if let Some(place) = parts.get_mut(number as usize) {
        *place = Some(value);
    }
}
