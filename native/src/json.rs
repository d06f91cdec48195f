//! Hubble's records as JSON lines, in the order in which Hubble prints their keys.
//!
//! A line is cut at what varies and at the parts that repeat by themselves; what lies between, byte for
//! byte, is the kind's key. So what repeats need not be understood here: Python reads the first line
//! that has it, and in any other line it is the same bytes. What must be exact is where each part is,
//! and that no key comes twice where one of them could stand; hence the order, and no white space.

use crate::record::{LAST_TYPE, Parts, Varying, plain};
use crate::text::Reader;
use crate::time::nanoseconds;

/// What is done with the value of a key of flow.Flow.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Time,
    Uuid,
    Addresses,
    Layer4,
    Layer7,
    Source,
    Destination,
    Names,
    /// Differs from record to record or from pod to pod, and nobody reads it.
    Unread,
    /// Of a proxy's record it repeats what the record says, so that it is unread; else it stays.
    Summary,
    /// Repeats: it stays in the key.
    Stays,
}

/// The keys of flow.Flow in Hubble's order (Cilium 1.20, api/v1/flow/flow.proto).
const FLOW: [(&[u8], Part); 45] = [
    (b"time", Part::Time),
    (b"uuid", Part::Uuid),
    (b"emitter", Part::Stays),
    (b"verdict", Part::Stays),
    (b"drop_reason", Part::Stays),
    (b"auth_type", Part::Stays),
    (b"ethernet", Part::Unread),
    (b"IP", Part::Addresses),
    (b"l4", Part::Layer4),
    (b"tunnel", Part::Stays),
    (b"source", Part::Source),
    (b"destination", Part::Destination),
    (b"Type", Part::Stays),
    (b"node_name", Part::Stays),
    (b"node_labels", Part::Stays),
    (b"source_names", Part::Names),
    (b"destination_names", Part::Names),
    (b"l7", Part::Layer7),
    (b"reply", Part::Stays),
    (b"event_type", Part::Stays),
    (b"source_service", Part::Names),
    (b"destination_service", Part::Names),
    (b"traffic_direction", Part::Stays),
    (b"policy_match_type", Part::Stays),
    (b"trace_observation_point", Part::Stays),
    (b"trace_reason", Part::Stays),
    (b"file", Part::Stays),
    (b"ip_trace_id", Part::Stays),
    (b"drop_reason_desc", Part::Stays),
    (b"is_reply", Part::Stays),
    (b"debug_capture_point", Part::Stays),
    (b"interface", Part::Unread),
    (b"proxy_port", Part::Stays),
    (b"trace_context", Part::Unread),
    (b"sock_xlate_point", Part::Stays),
    (b"socket_cookie", Part::Unread),
    (b"cgroup_id", Part::Unread),
    (b"Summary", Part::Summary),
    (b"extensions", Part::Stays),
    (b"egress_allowed_by", Part::Stays),
    (b"ingress_allowed_by", Part::Stays),
    (b"egress_denied_by", Part::Stays),
    (b"ingress_denied_by", Part::Stays),
    (b"policy_log", Part::Stays),
    (b"aggregate", Part::Stays),
];

/// An arm of Layer4: its name, whether it has ports (else a message type), and what follows those.
type Arm = (&'static [u8], bool, &'static [&'static [u8]]);

const LAYER4: [Arm; 7] = [
    (b"TCP", true, &[b"flags"]),
    (b"UDP", true, &[]),
    (b"ICMPv4", false, &[b"code"]),
    (b"ICMPv6", false, &[b"code"]),
    (b"SCTP", true, &[b"chunk_type"]),
    (b"VRRP", false, &[b"vrid", b"priority"]),
    (b"IGMP", false, &[b"group_address"]),
];

/// What comes next in a line, where it isn't a piece of the kind's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    Time,
    /// The same once more, of the response.
    TimeAgain,
    Uuid,
    SourceIp,
    DestinationIp,
    SourcePort,
    DestinationPort,
    /// A message type, where ports would stand.
    Type,
    Source,
    Destination,
    /// Names or a service; by its place in the flow.
    Names(u8),
    Layer7,
    Unread,
}

/// How a line was cut: pieces of its kind's key, each with what followed it, and the last one.
#[derive(Default)]
pub struct Cuts<'a> {
    /// The pieces that something followed.
    pub pieces: Vec<(&'a [u8], Hole)>,
    /// The line's end.
    pub last: &'a [u8],
}

/// Read one `line` without its line break; None when it isn't to the last byte what Hubble prints.
///
/// `cuts` are then its pieces, and `parts` has all parts but the kind's key, which is made of those.
pub fn record<'a>(
    line: &'a [u8],
    parts: &mut Parts<'a>,
    cuts: &mut Cuts<'a>,
) -> Option<Varying<'a>> {
    parts.clear();
    cuts.pieces.clear();
    let wrapped = line.starts_with(b"{\"flow\":{");
    if !wrapped && !line.starts_with(b"{") {
        return None;
    }
    let mut scan = Scan {
        line: Line::new(line, if wrapped { 9 } else { 1 }, parts),
        cuts,
        from: 0,
    };
    scan.flow()?;
    if wrapped {
        scan.response()?;
    }
    let (read, from) = (&scan.line.read, scan.from);
    if scan.line.stamp.is_empty() || !read.is_at_end() {
        return None;
    }
    let varying = scan.line.varying;
    cuts.last = &line[from..];
    for (piece, _) in &cuts.pieces {
        parts.kind.push(piece);
    }
    parts.kind.push(cuts.last);
    Some(varying)
}

/// A line, and what was read of it.
pub struct Line<'a, 'p> {
    /// Where it is read.
    pub read: Reader<'a>,
    parts: &'p mut Parts<'a>,
    /// The flow's time as it stands there.
    stamp: &'a [u8],
    /// What was found so far.
    pub varying: Varying<'a>,
}

impl<'a, 'p> Line<'a, 'p> {
    /// Begin at a place in `line`.
    pub fn new(line: &'a [u8], at: usize, parts: &'p mut Parts<'a>) -> Self {
        Self {
            read: Reader::at(line, at),
            parts,
            stamp: b"",
            varying: Varying::default(),
        }
    }

    /// Go over what a hole holds, and take it in; None where it may not be.
    pub fn take(&mut self, hole: Hole) -> Option<()> {
        match hole {
            Hole::Time => {
                self.stamp = self.read.plain_string()?;
                self.varying.time = nanoseconds(self.stamp)?;
            }
            Hole::TimeAgain => (self.read.plain_string()? == self.stamp).then_some(())?,
            Hole::Uuid => self.varying.uuid = plain(self.read.plain_string()?)?,
            Hole::SourceIp => self.varying.source_ip = plain(self.read.plain_string()?)?,
            Hole::DestinationIp => self.varying.destination_ip = plain(self.read.plain_string()?)?,
            Hole::SourcePort => self.varying.source_port = self.read.number()?,
            Hole::DestinationPort => self.varying.destination_port = self.read.number()?,
            Hole::Type => {
                let number = self.read.number()?;
                self.varying.destination_port = (number <= LAST_TYPE).then_some(number)?;
            }
            Hole::Source => self.parts.source = self.endpoint(self.varying.source_ip)?,
            Hole::Destination => {
                self.parts.destination = self.endpoint(self.varying.destination_ip)?;
            }
            Hole::Names(place) => {
                let value = self.read.skipped()?;
                self.parts.names.push(&[place]);
                self.parts.names.push(value);
            }
            Hole::Layer7 => {
                let record = self.sound()?;
                // Of a null Python says that there is none: its kind would be another.
                self.varying.layer7 = record.starts_with(b"{").then_some(Some(record))?;
            }
            Hole::Unread => {
                self.sound()?;
            }
        }
        Some(())
    }

    /// An endpoint: mostly the one that this address had before.
    fn endpoint(&mut self, ip: &'a str) -> Option<&'a [u8]> {
        let rest = self.read.rest();
        // What is a whole object is one, whatever follows.
        if let Some(length) = self.parts.before.at(ip, rest) {
            self.read.go(length);
            return Some(&rest[..length]);
        }
        let text = self.read.skipped()?;
        if text.starts_with(b"{") {
            self.parts.before.put(ip, text);
        }
        Some(text)
    }

    fn sound(&mut self) -> Option<&'a [u8]> {
        let text = self.read.value()?;
        std::str::from_utf8(text).is_ok().then_some(text)
    }
}

struct Scan<'a, 'p, 'c> {
    line: Line<'a, 'p>,
    cuts: &'c mut Cuts<'a>,
    /// Where the present piece begins.
    from: usize,
}

impl Scan<'_, '_, '_> {
    /// The members of the flow, its closing bracket with them.
    fn flow(&mut self) -> Option<()> {
        let mut place = 0;
        loop {
            let name = self.line.read.name()?;
            place += FLOW[place..].iter().position(|(one, _)| *one == name)?;
            match FLOW[place].1 {
                Part::Stays => self.line.read.skip()?,
                Part::Time => self.cut(Hole::Time)?,
                Part::Uuid => self.cut(Hole::Uuid)?,
                Part::Addresses => self.addresses()?,
                Part::Layer4 => self.layer4()?,
                Part::Source => self.cut(Hole::Source)?,
                Part::Destination => self.cut(Hole::Destination)?,
                Part::Names => self.cut(Hole::Names(place as u8))?,
                Part::Layer7 => self.cut(Hole::Layer7)?,
                Part::Summary if self.line.varying.layer7.is_none() => self.line.read.skip()?,
                Part::Unread | Part::Summary => self.cut(Hole::Unread)?,
            }
            place += 1;
            if !self.line.read.goes_on()? {
                return Some(());
            }
        }
    }

    /// What stands around the flow; its time must be the flow's.
    fn response(&mut self) -> Option<()> {
        if self.line.read.take(b",\"node_name\":\"") {
            self.line.read.skip_string()?;
        }
        if self.line.read.take(b",\"time\":") {
            self.cut(Hole::TimeAgain)?;
        }
        self.line.read.take(b"}").then_some(())
    }

    fn addresses(&mut self) -> Option<()> {
        self.line.read.open()?;
        self.member(b"source", Some(Hole::SourceIp))?;
        self.member(b"source_xlated", None)?;
        self.member(b"destination", Some(Hole::DestinationIp))?;
        self.member(b"ipVersion", None)?;
        self.member(b"encrypted", None)?;
        self.line.read.take(b"}").then_some(())
    }

    fn layer4(&mut self) -> Option<()> {
        self.line.read.open()?;
        let name = self.line.read.name()?;
        let (_, has_ports, more) = LAYER4.iter().find(|(one, ..)| *one == name)?;
        self.line.read.open()?;
        if *has_ports {
            self.member(b"source_port", Some(Hole::SourcePort))?;
            self.member(b"destination_port", Some(Hole::DestinationPort))?;
        } else {
            self.member(b"type", Some(Hole::Type))?;
        }
        for name in *more {
            self.member(name, None)?;
        }
        self.line.read.take(b"}}").then_some(())
    }

    /// The member `name`, if it comes next: a hole, or it stays in the piece.
    fn member(&mut self, name: &[u8], hole: Option<Hole>) -> Option<()> {
        if !self.line.read.member(name) {
            return Some(());
        }
        match hole {
            Some(hole) => self.cut(hole),
            None => self.line.read.skip(),
        }
    }

    /// End the piece here, and go over what follows.
    fn cut(&mut self, hole: Hole) -> Option<()> {
        let read = &self.line.read;
        self.cuts
            .pieces
            .push((&read.bytes()[self.from..read.place()], hole));
        self.line.take(hole)?;
        self.from = self.line.read.place();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cuts, record};
    use crate::record::{Parts, Varying};

    const LINE: &str = concat!(
        r#"{"flow":{"time":"2026-11-28T17:56:05.109381393Z","uuid":"6615f989-89b6","#,
        r#""verdict":"FORWARDED","ethernet":{"source":"fa:79","destination":"0a:ad"},"#,
        r#""IP":{"source":"10.0.0.1","destination":"10.0.0.2","ipVersion":"IPv4"},"#,
        r#""l4":{"TCP":{"source_port":57455,"destination_port":8080,"flags":{"SYN":true}}},"#,
        r#""source":{"ID":1,"labels":["k8s:a=}\"b"]},"destination":{"identity":2},"#,
        r#""Type":"L3_L4","node_name":"n1","destination_names":["a.b"],"#,
        r#""event_type":{"type":1,"sub_type":133},"destination_service":{"name":"s"},"#,
        r#""traffic_direction":"EGRESS","interface":{"index":7},"Summary":"TCP Flags: SYN"},"#,
        r#""node_name":"n1","time":"2026-11-28T17:56:05.109381393Z"}"#,
    );
    const QUERY: &str = concat!(
        r#"{"flow":{"time":"2026-11-28T17:56:05Z","verdict":"FORWARDED","#,
        r#""l4":{"UDP":{"source_port":57455,"destination_port":53}},"source":{"ID":1},"#,
        r#""l7":{"type":"REQUEST","dns":{"query":"a.b."}},"trace_context":{"parent":"x"},"#,
        r#""Summary":"DNS Query a.b."},"time":"2026-11-28T17:56:05Z"}"#,
    );

    /// What varies; and the keys of all parts, one behind the other.
    fn read(line: &str) -> Option<(Varying<'_>, Vec<u8>)> {
        let mut parts = Parts::default();
        let varying = record(line.as_bytes(), &mut parts, &mut Cuts::default())?;
        let keys = [
            parts.kind.as_bytes(),
            parts.names.as_bytes(),
            parts.source,
            parts.destination,
        ];
        Some((varying, keys.join(&b'|')))
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(LINE.contains(from), "{from}");
        LINE.replace(from, to)
    }

    #[test]
    fn a_line_is_cut_at_its_parts() {
        let mut parts = Parts::default();
        let cuts = &mut Cuts::default();
        let varying = record(LINE.as_bytes(), &mut parts, cuts).expect("one of Hubble's");
        let expected = Varying {
            time: 1_795_888_565_109_381_393,
            source_ip: "10.0.0.1",
            destination_ip: "10.0.0.2",
            source_port: 57455,
            destination_port: 8080,
            uuid: "6615f989-89b6",
            layer7: None,
        };
        assert_eq!(varying, expected);
        assert_eq!(parts.source, br#"{"ID":1,"labels":["k8s:a=}\"b"]}"#);
        assert_eq!(parts.destination, br#"{"identity":2}"#);
        let names = parts.names.as_bytes();
        assert!(
            names.ends_with(br#"{"name":"s"}"#) && memchr::memmem::find(names, b"a.b").is_some()
        );
    }

    #[test]
    fn what_varies_is_not_in_the_keys() {
        let (_, keys) = read(LINE).expect("one of Hubble's");
        for (from, to) in [
            ("17:56:05.109381393Z", "17:56:06Z"),
            ("6615f989-89b6", "a"),
            ("10.0.0.1", "fe80::1%eth0"),
            ("10.0.0.2", "1"),
            ("57455", "1"),
            ("8080", "65535"),
            ("fa:79", "other"),
            (r#"{"index":7}"#, "{}"),
        ] {
            let line = changed(from, to);
            assert_eq!(read(&line).expect("another").1, keys, "{from}");
        }
    }

    #[test]
    fn all_else_is() {
        let (_, keys) = read(LINE).expect("one of Hubble's");
        for (from, to) in [
            ("FORWARDED", "DROPPED"),
            ("IPv4", "IPv6"),
            (r#""SYN""#, r#""ACK""#),
            ("TCP\":", "SCTP\":"),
            (r#""ID":1"#, r#""ID":2"#),
            (r#""identity":2"#, r#""identity":3"#),
            ("k8s:a=}", "k8s:a=]"),
            (r#""a.b""#, r#""a.c""#),
            ("destination_names", "source_names"),
            ("destination_service", "source_service"),
            ("EGRESS", "INGRESS"),
            ("TCP Flags: SYN", "TCP Flags: ACK"),
            (r#""node_name":"n1","time""#, r#""node_name":"n2","time""#),
            (r#""uuid":"6615f989-89b6","#, ""),
            (r#","source":{"ID":1,"labels":["k8s:a=}\"b"]}"#, ""),
        ] {
            let line = changed(from, to);
            if let Some((_, other)) = read(&line) {
                assert_ne!(other, keys, "{from}");
            } else {
                assert_eq!(from, "TCP\":", "flags are TCP's alone");
            }
        }
    }

    #[test]
    fn what_a_proxy_saw_varies_with_its_words() {
        let (varying, keys) = read(QUERY).expect("one of Hubble's");
        assert_eq!(
            varying.layer7,
            Some(&br#"{"type":"REQUEST","dns":{"query":"a.b."}}"#[..])
        );
        let other = QUERY.replace("a.b.", "c.").replace(r#""x""#, "[1]");
        assert_eq!(read(&other).expect("another").1, keys);
        let none = QUERY.replace(r#"{"type":"REQUEST","dns":{"query":"a.b."}}"#, "null");
        assert_eq!(read(&none), None);
    }

    #[test]
    fn anything_else_is_left_alone() {
        for (from, to) in [
            (r#"{"flow""#, r#" {"flow""#),
            (r#","verdict""#, r#", "verdict""#),
            (
                r#""uuid":"6615f989-89b6","#,
                r#""uuid":"6615f989-89b6","uuid":"b","#,
            ),
            (r#""verdict":"#, r#""verdict":"DROPPED","verdict":"#),
            (
                r#""source":"10.0.0.1","#,
                r#""source":"10.0.0.1","source":"10.0.0.3","#,
            ),
            (
                r#""source":"10.0.0.1","destination":"10.0.0.2""#,
                r#""destination":"10.0.0.2","source":"10.0.0.1""#,
            ),
            (
                r#""source_port":57455,"#,
                r#""source_port":57455,"source_port":1,"#,
            ),
            (r#"}}},"source""#, r#"},"UDP":{}}},"source""#),
            (
                r#""node_name":"n1","time""#,
                r#""verdict":"DROPPED","time""#,
            ),
            ("uuid", "\\u0075uid"),
            ("uuid", "newer"),
            ("6615f989-89b6", ""),
            ("6615f989-89b6", "6615\\u0031"),
            ("57455", "65536"),
            ("57455", "0"),
            ("57455", "057"),
            ("57455", "-1"),
            ("57455", "1e3"),
            ("57455", "\"1\""),
            ("57455", "null"),
            ("10.0.0.1", "10.0.0.1 "),
            ("09381393Z\",\"uuid", "09381394Z\",\"uuid"),
            (
                "2026-11-28T17:56:05.109381393Z",
                "1969-11-28T17:56:05.109381393Z",
            ),
            (r#"{"index":7}"#, "{index:7}"),
        ] {
            let line = changed(from, to);
            assert_eq!(read(&line), None, "{to}");
        }
        for end in 0..LINE.len() {
            assert_eq!(read(&LINE[..end]), None, "cut off after {end}");
        }
        assert_eq!(read(&format!("{LINE} ")), None);
    }

    #[test]
    fn a_flow_without_its_response_is_another_kind() {
        let end = LINE
            .find(r#","node_name":"n1","time""#)
            .expect("the response's");
        let bare = &LINE[r#"{"flow":"#.len()..end];
        let (varying, keys) = read(bare).expect("one of Hubble's");
        let (wrapped, other) = read(LINE).expect("one of Hubble's");
        assert_eq!(varying, wrapped);
        assert_ne!(keys, other);
    }

    #[test]
    fn a_message_type_stands_where_ports_do() {
        let ports = r#"{"TCP":{"source_port":57455,"destination_port":8080,"flags":{"SYN":true}}}"#;
        let echo = changed(ports, r#"{"ICMPv4":{"type":8,"code":1}}"#);
        let (varying, keys) = read(&echo).expect("one of Hubble's");
        assert_eq!((varying.source_port, varying.destination_port), (0, 8));
        let other = echo.replace("\"type\":8", "\"type\":11");
        assert_eq!(read(&other).expect("another").1, keys);
        let other = echo.replace("\"code\":1", "\"code\":2");
        assert_ne!(read(&other).expect("another").1, keys);
        assert_eq!(read(&echo.replace("\"type\":8", "\"type\":256")), None);
    }
}
