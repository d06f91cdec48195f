//! Hubble's records on the wire: a serialized observer.GetFlowsResponse.
//!
//! As in [`crate::json`], a message is cut at its parts. The length of a message that holds what varies
//! varies with it and isn't in the key; where that message ends, a piece ends. So the
//! pieces of a key can be read in one way only: a piece is whole fields, and ends with the tag of a
//! varying one or at the end of its message.

use crate::record::{LAST_TYPE, Parts, Varying, moment, plain};

/// google.protobuf's wire types that fields of Hubble's have.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// Numbers of observer.GetFlowsResponse's fields.
mod response {
    pub const FLOW: u32 = 1;
    pub const NODE_NAME: u32 = 1000;
    pub const TIME: u32 = 1001;
}

/// Numbers of flow.Flow's fields that aren't in the key.
mod flow {
    pub const TIME: u32 = 1;
    pub const ETHERNET: u32 = 4;
    pub const IP: u32 = 5;
    pub const L4: u32 = 6;
    pub const SOURCE: u32 = 8;
    pub const DESTINATION: u32 = 9;
    pub const SOURCE_NAMES: u32 = 13;
    pub const DESTINATION_NAMES: u32 = 14;
    pub const L7: u32 = 15;
    pub const SOURCE_SERVICE: u32 = 20;
    pub const DESTINATION_SERVICE: u32 = 21;
    pub const INTERFACE: u32 = 28;
    pub const TRACE_CONTEXT: u32 = 30;
    pub const SOCKET_COOKIE: u32 = 32;
    pub const CGROUP_ID: u32 = 33;
    pub const UUID: u32 = 34;
    pub const SUMMARY: u32 = 100_000;
}

/// Arms of flow.Layer4 by number: whether they have ports, or else a message type.
const LAYER4: [(u32, bool); 7] = [
    (1, true),
    (2, true),
    (3, false),
    (4, false),
    (5, true),
    (6, false),
    (7, false),
];

/// Read one serialized response; None when it isn't one with a flow as Go writes it.
///
/// A time after `latest` can't be.
pub fn record<'a>(message: &'a [u8], parts: &mut Parts<'a>, latest: u64) -> Option<Varying<'a>> {
    parts.clear();
    let mut scan = Scan {
        bytes: message,
        parts,
        at: 0,
        from: 0,
        varying: Varying::default(),
    };
    let mut seen = Seen::default();
    let (mut time, mut outer) = (None, None);
    while let Some(field) = scan.field(message.len())? {
        match (field.number, field.kind) {
            (response::FLOW, BYTES) => {
                seen.once(0)?;
                time = Some(scan.flow(&field)?);
            }
            (response::NODE_NAME, BYTES) => seen.once(1)?,
            (response::TIME, BYTES) => {
                seen.once(2)?;
                outer = Some(scan.time(&field)?);
            }
            _ => return None,
        }
    }
    scan.parts.kind.push(&message[scan.from..]);
    let time = time?;
    if time > latest || outer.is_some_and(|other| other != time) {
        return None;
    }
    scan.varying.time = time;
    Some(scan.varying)
}

/// A field whose tag was read.
struct Field {
    number: u32,
    kind: u8,
    /// Of its value, a length with it.
    start: usize,
    /// Of what it holds.
    content: usize,
    end: usize,
    /// Of a varint.
    value: u64,
}

/// Fields that were met in one message: none that varies may come twice.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn once(&mut self, which: u8) -> Option<()> {
        let bit = 1 << which;
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new.then_some(())
    }
}

struct Scan<'a, 'p> {
    bytes: &'a [u8],
    parts: &'p mut Parts<'a>,
    at: usize,
    /// Where the present piece of the kind's key begins.
    from: usize,
    varying: Varying<'a>,
}

impl<'a> Scan<'a, '_> {
    /// The flow's fields; its time.
    fn flow(&mut self, message: &Field) -> Option<u64> {
        let mut seen = Seen::default();
        let mut time = None;
        self.enter(message);
        while let Some(field) = self.field(message.end)? {
            match (field.number, field.kind) {
                (flow::TIME, BYTES) => {
                    seen.once(0)?;
                    time = Some(self.time(&field)?);
                }
                (flow::IP, BYTES) => {
                    seen.once(1)?;
                    self.addresses(&field)?;
                }
                (flow::L4, BYTES) => {
                    seen.once(2)?;
                    self.layer4(&field)?;
                }
                (flow::L7, BYTES) => {
                    seen.once(3)?;
                    let record = self.leave_out(&field);
                    self.varying.layer7 = (!record.is_empty()).then_some(Some(record))?;
                }
                (flow::UUID, BYTES) => {
                    seen.once(4)?;
                    self.varying.uuid = plain(self.leave_out(&field))?;
                }
                (flow::SOURCE, BYTES) => {
                    seen.once(5)?;
                    self.parts.source = self.leave_out(&field);
                }
                (flow::DESTINATION, BYTES) => {
                    seen.once(6)?;
                    self.parts.destination = self.leave_out(&field);
                }
                (
                    flow::SOURCE_NAMES
                    | flow::DESTINATION_NAMES
                    | flow::SOURCE_SERVICE
                    | flow::DESTINATION_SERVICE,
                    BYTES,
                ) => {
                    let value = self.leave_out(&field);
                    self.parts.names.push(&[field.number as u8]);
                    self.parts.names.push(value);
                }
                // What nobody reads.
                (flow::ETHERNET | flow::INTERFACE | flow::TRACE_CONTEXT, BYTES)
                | (flow::SOCKET_COOKIE | flow::CGROUP_ID, VARINT) => {
                    self.leave_out(&field);
                }
                // Of a proxy's record it repeats what the record says.
                (flow::SUMMARY, BYTES) if self.varying.layer7.is_some() => {
                    self.leave_out(&field);
                }
                // Never of another wire type.
                (
                    flow::TIME
                    | flow::IP
                    | flow::L4
                    | flow::L7
                    | flow::UUID
                    | flow::SOURCE
                    | flow::DESTINATION,
                    _,
                ) => return None,
                _ => {}
            }
        }
        self.leave();
        time
    }

    /// A google.protobuf.Timestamp that isn't in the key.
    fn time(&mut self, message: &Field) -> Option<u64> {
        self.leave_out(message);
        self.at = message.content;
        let (mut seconds, mut nanos) = (0, 0);
        let mut seen = Seen::default();
        while let Some(field) = self.field(message.end)? {
            let value = match (field.number, field.kind) {
                (1, VARINT) => &mut seconds,
                (2, VARINT) => &mut nanos,
                _ => return None,
            };
            seen.once(field.number as u8)?;
            *value = field.value;
        }
        moment(seconds, nanos)
    }

    fn addresses(&mut self, message: &Field) -> Option<()> {
        let mut seen = Seen::default();
        self.enter(message);
        while let Some(field) = self.field(message.end)? {
            let address = match (field.number, field.kind) {
                (1, BYTES) => &mut self.varying.source_ip,
                (2, BYTES) => &mut self.varying.destination_ip,
                (1 | 2, _) => return None,
                _ => continue,
            };
            seen.once(field.number as u8)?;
            *address = plain(&self.bytes[field.content..field.end])?;
            self.leave_out(&field);
        }
        self.leave();
        Some(())
    }

    fn layer4(&mut self, message: &Field) -> Option<()> {
        self.enter(message);
        if let Some(field) = self.field(message.end)? {
            let arm = LAYER4.iter().find(|(number, _)| *number == field.number)?;
            if field.kind != BYTES || field.end != message.end {
                return None;
            }
            self.arm(&field, arm.1)?;
        }
        self.leave();
        Some(())
    }

    fn arm(&mut self, message: &Field, has_ports: bool) -> Option<()> {
        let mut seen = Seen::default();
        self.enter(message);
        while let Some(field) = self.field(message.end)? {
            let number = match (field.number, has_ports) {
                (1, true) => &mut self.varying.source_port,
                (2, true) | (1, false) => &mut self.varying.destination_port,
                _ => continue,
            };
            seen.once(field.number as u8)?;
            *number = u16::try_from(field.value).ok()?;
            if field.kind != VARINT || (!has_ports && *number > LAST_TYPE) {
                return None;
            }
            self.leave_out(&field);
        }
        self.leave();
        Some(())
    }

    /// The next field of a message that ends at `end`: Some(None) there, None where it's damaged.
    #[inline]
    fn field(&mut self, end: usize) -> Option<Option<Field>> {
        if self.at == end {
            return Some(None);
        }
        let tag = self.varint(end)?;
        let start = self.at;
        let kind = (tag & 7) as u8;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| {
            // As protobuf numbers fields.
            (1..1 << 29).contains(&number)
        })?;
        let mut value = 0;
        let mut content = start;
        match kind {
            VARINT => value = self.varint(end)?,
            BYTES => {
                let length = usize::try_from(self.varint(end)?).ok()?;
                content = self.at;
                self.at = self.at.checked_add(length)?;
            }
            FIXED64 => self.at += 8,
            FIXED32 => self.at += 4,
            _ => return None,
        }
        (self.at <= end).then_some(Some(Field {
            number,
            kind,
            start,
            content,
            end: self.at,
            value,
        }))
    }

    /// A number in as few bytes as it needs; other forms are left to Python.
    #[inline]
    fn varint(&mut self, end: usize) -> Option<u64> {
        // Nearly all have one byte or two.
        match *self.bytes.get(self.at..end)? {
            [low @ ..0x80, ..] => {
                self.at += 1;
                Some(u64::from(low))
            }
            [low, high @ 1..0x80, ..] => {
                self.at += 2;
                Some(u64::from(low & 0x7F) | u64::from(high) << 7)
            }
            _ => self.long_varint(end),
        }
    }

    fn long_varint(&mut self, end: usize) -> Option<u64> {
        let bytes = &self.bytes[self.at.min(end)..end];
        let mut value = 0_u64;
        for (place, &byte) in bytes.iter().take(10).enumerate() {
            if place == 9 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte < 0x80 {
                self.at += place + 1;
                return (byte != 0 || place == 0).then_some(value);
            }
        }
        None
    }

    /// Begin a message that holds what varies: its length isn't in the key.
    fn enter(&mut self, message: &Field) {
        self.parts.kind.push(&self.bytes[self.from..message.start]);
        self.from = message.content;
        self.at = message.content;
    }

    /// The end of such a message.
    fn leave(&mut self) {
        self.parts.kind.push(&self.bytes[self.from..self.at]);
        self.from = self.at;
    }

    /// Keep a field's value out of the key; what it holds.
    fn leave_out(&mut self, field: &Field) -> &'a [u8] {
        self.parts.kind.push(&self.bytes[self.from..field.start]);
        self.from = field.end;
        &self.bytes[field.content..field.end]
    }
}

#[cfg(test)]
mod tests {
    use super::record;
    use crate::record::{LATEST, Parts, Varying};

    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [&varint(field << 3 | 2), &varint(value.len() as u64), value].concat()
    }

    fn time(field: u64, seconds: u64) -> Vec<u8> {
        bytes(field, &[number(1, seconds), number(2, 5)].concat())
    }

    /// Fields of a flow, in Go's order.
    fn fields() -> Vec<Vec<u8>> {
        vec![
            time(1, 1000),
            number(2, 1),
            bytes(4, b"ethernet"),
            bytes(
                5,
                &[bytes(1, b"10.0.0.1"), bytes(2, b"10.0.0.2"), number(3, 1)].concat(),
            ),
            bytes(
                6,
                &bytes(
                    1,
                    &[number(1, 57455), number(2, 80), bytes(3, b"\x10\x01")].concat(),
                ),
            ),
            bytes(8, b"source"),
            bytes(9, b"destination"),
            bytes(11, b"n1"),
            bytes(14, b"a.b"),
            bytes(14, b"c.d"),
            bytes(21, b"service"),
            number(22, 2),
            bytes(34, b"6615f989"),
            bytes(100_000, b"TCP Flags: SYN"),
            bytes(21_001, b"policy"),
        ]
    }

    fn response(fields: &[Vec<u8>]) -> Vec<u8> {
        [
            bytes(1, &fields.concat()),
            bytes(1000, b"n1"),
            time(1001, 1000),
        ]
        .concat()
    }

    fn read(message: &[u8]) -> Option<(Varying<'_>, Vec<u8>)> {
        let mut parts = Parts::default();
        let varying = record(message, &mut parts, LATEST)?;
        let keys = [
            parts.kind.as_bytes(),
            parts.names.as_bytes(),
            parts.source,
            parts.destination,
        ];
        Some((varying, keys.join(&b'|')))
    }

    /// The keys, with one field in place of another, where that is recognised.
    fn with(place: usize, field: Vec<u8>) -> Option<Vec<u8>> {
        let mut fields = fields();
        fields[place] = field;
        read(&response(&fields)).map(|(_, keys)| keys)
    }

    #[test]
    fn a_message_is_cut_at_its_parts() {
        let message = response(&fields());
        let mut parts = Parts::default();
        let varying = record(&message, &mut parts, LATEST).expect("as Go writes it");
        let expected = Varying {
            time: 1_000_000_000_005,
            source_ip: "10.0.0.1",
            destination_ip: "10.0.0.2",
            source_port: 57455,
            destination_port: 80,
            uuid: "6615f989",
            layer7: None,
        };
        assert_eq!(varying, expected);
        assert_eq!(
            (parts.source, parts.destination),
            (&b"source"[..], &b"destination"[..])
        );
        assert_eq!(record(&message, &mut parts, 1_000_000_000_004), None);
    }

    #[test]
    fn what_varies_is_not_in_the_keys() {
        let (_, keys) = read(&response(&fields())).expect("as Go writes it");
        let ports = [number(1, 9), number(2, 65535), bytes(3, b"\x10\x01")].concat();
        let addresses = [bytes(1, b"fe80::1"), bytes(2, b"1"), number(3, 1)].concat();
        for (place, field) in [
            (2, bytes(4, b"other")),
            (3, bytes(5, &addresses)),
            (4, bytes(6, &bytes(1, &ports))),
            (12, bytes(34, b"a")),
        ] {
            assert_eq!(with(place, field).as_ref(), Some(&keys), "{place}");
        }
    }

    #[test]
    fn all_else_is() {
        let (_, keys) = read(&response(&fields())).expect("as Go writes it");
        let ports = [number(1, 57455), number(2, 80), bytes(3, b"\x20\x01")].concat();
        let fewer = [number(1, 57455), number(2, 80)].concat();
        for (place, field) in [
            (1, number(2, 2)),
            (4, bytes(6, &bytes(1, &ports))),
            (4, bytes(6, &bytes(1, &fewer))),
            (4, bytes(6, &bytes(2, &fewer))),
            (5, bytes(8, b"other")),
            (6, bytes(9, b"other")),
            (6, vec![]),
            (7, bytes(11, b"n2")),
            (8, bytes(13, b"a.b")),
            (9, bytes(14, b"c.e")),
            (10, bytes(20, b"service")),
            (11, number(22, 1)),
            (13, bytes(100_000, b"TCP Flags: ACK")),
            (14, bytes(21_004, b"policy")),
            (14, bytes(99, b"newer")),
        ] {
            let other = with(place, field).expect("another");
            assert_ne!(other, keys, "{place}");
        }
    }

    #[test]
    fn where_a_message_ends_a_piece_does() {
        // The same bytes: once TCP's flags, once an arm of Layer4.
        let inside = [number(1, 57455), number(2, 80), bytes(3, b"\x10\x01")].concat();
        let outside = [
            bytes(1, &[number(1, 57455), number(2, 80)].concat()),
            bytes(3, b"\x10\x01"),
        ];
        assert!(with(4, bytes(6, &bytes(1, &inside))).is_some());
        assert_eq!(with(4, bytes(6, &outside.concat())), None);
        // Once a field of the flow, once of its response.
        let mut short = fields();
        let last = short.pop().expect("a policy");
        let after = [
            bytes(1, &short.concat()),
            last,
            bytes(1000, b"n1"),
            time(1001, 1000),
        ];
        assert_eq!(read(&after.concat()), None);
    }

    #[test]
    fn what_a_proxy_saw_varies_with_its_words() {
        let mut fields = fields();
        fields.insert(10, bytes(15, b"query"));
        let message = response(&fields);
        let (varying, keys) = read(&message).expect("as Go writes it");
        assert_eq!(varying.layer7, Some(&b"query"[..]));
        fields[10] = bytes(15, b"another");
        fields[14] = bytes(100_000, b"DNS Query");
        assert_eq!(read(&response(&fields)).expect("another").1, keys);
    }

    #[test]
    fn anything_else_is_left_alone() {
        let two_ports = [number(1, 9), number(1, 9), number(2, 80)].concat();
        let two_addresses = [bytes(1, b"a"), bytes(1, b"b"), bytes(2, b"c")].concat();
        for (place, field) in [
            (0, vec![]),
            (0, time(1, 1001)),
            (0, time(1, 9_223_372_037)),
            (
                0,
                bytes(
                    1,
                    &[number(1, 1000), number(1, 1000), number(2, 5)].concat(),
                ),
            ),
            (
                0,
                bytes(1, &[number(1, 1000), number(2, 5), number(3, 1)].concat()),
            ),
            (
                0,
                bytes(1, &[number(1, 999), number(2, 1_000_000_005)].concat()),
            ),
            (1, time(1, 1000)),
            (3, number(5, 1)),
            (3, bytes(5, &two_addresses)),
            (3, bytes(5, &bytes(1, b""))),
            (3, bytes(5, &bytes(1, "\u{e4}".as_bytes()))),
            (4, bytes(6, &bytes(1, &two_ports))),
            (4, bytes(6, &bytes(1, &number(1, 65536)))),
            (4, bytes(6, &bytes(1, &bytes(1, b"\x01")))),
            (4, bytes(6, &bytes(3, &number(1, 256)))),
            (4, bytes(6, &bytes(8, b""))),
            (5, number(8, 1)),
            (7, bytes(8, b"source")),
            (8, bytes(15, b"")),
            (12, bytes(34, b"")),
            (13, bytes(34, b"6615f989")),
            (1, vec![0x10, 0x81, 0x00]),
            (1, vec![0x90, 0x00, 0x01]),
            (1, vec![0x13]),
            (1, vec![0x02, 0x01]),
        ] {
            assert_eq!(with(place, field.clone()), None, "{place} {field:?}");
        }
        let whole = response(&fields());
        let first = bytes(1, &fields().concat());
        for end in 0..whole.len() {
            // Without node and time it is a response too.
            let sound = end == first.len() || end == first.len() + bytes(1000, b"n1").len();
            assert_eq!(read(&whole[..end]).is_some(), sound, "cut off after {end}");
        }
        assert_eq!(read(&[first.clone(), first].concat()), None);
        assert_eq!(read(&bytes(3, b"lost events")), None);
        assert_eq!(read(&[whole, bytes(7, b"newer")].concat()), None);
    }
}
