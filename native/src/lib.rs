//! Reads Hubble's records for flowwatch: what repeats in each, part by part, and what varies.
//!
//! This knows formats and nothing else: Hubble's JSON lines, serialized GetFlowsResponses, HTTP/2
//! frames. What a part means is decided in Python, once for each: a record with a part that wasn't met
//! before is given out as it is, with what was seen in it, and Python says what its parts are
//! ([`Scanner::learn`]). What isn't recognised to the last byte is given out as it is.

mod before;
mod frames;
mod json;
mod key;
mod memory;
mod numbers;
mod record;
mod shapes;
mod strings;
mod text;
mod time;
mod wire;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::memory::{Found, Kind, Memory, Which};
use crate::record::{LATEST, Varying};
use crate::strings::Strings;

/// Records that a run of them has at least on average, in a block with more than a few runs: else known
/// and new ones are given out alike, or all as they are. Python reads many in a row faster.
const RECORDS_A_RUN: usize = 4;
const FEW_RUNS: usize = 4;

/// The version of what Python calls here; raised with every change of it.
const INTERFACE: u32 = 1;

/// Fields of flow.Flow that differ from record to record, or from pod to pod, and that nobody reads:
/// neither in a key nor given out. The last two of a proxy's record, whose words they repeat.
const UNREAD: [&str; 6] = [
    "ethernet",
    "interface",
    "socket_cookie",
    "cgroup_id",
    "trace_context",
    "Summary",
];

/// How a record is given out.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Made,
    New,
    Raw,
}

/// What the parts of a record are known by: how often the memory began anew, and their numbers.
type Token = (u64, u32, u32, u32, u32);

/// Reads records, and remembers their parts: some `limit` of them, then it begins anew. One thread.
///
/// `make(kind, ends, time, source_ip, destination_ip, source_port, destination_port, uuid, layer7, more)`
/// makes of a record whose parts are known what is given out; `ends` is what `join(source,
/// destination, names)` gave, once for those, and `more` came with the kind. `layer7(bytes)` reads the
/// proxy's part; where that raises, the record is given out as it is.
#[pyclass(module = "flowwatch_scan")]
struct Scanner {
    make: Py<PyAny>,
    join: Py<PyAny>,
    layer7: Py<PyAny>,
    memory: Memory<Py<PyAny>>,
    strings: Strings,
}

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (make, join, layer7, limit = 65_536))]
    fn new(make: Py<PyAny>, join: Py<PyAny>, layer7: Py<PyAny>, limit: usize) -> Self {
        Self {
            make,
            join,
            layer7,
            memory: Memory::new(limit),
            strings: Strings::new(limit),
        }
    }

    /// The records of `block`, lines of JSON, as runs: `(start, end, made, new)`.
    ///
    /// `start` and `end` are places in `block`. `made` is the list of what `make` gave for each of the
    /// run's records. Else `new` is a list of `(token, time, source_ip, destination_ip, source_port,
    /// destination_port, uuid, layer7)`, one for each. Both are None where nothing was recognised.
    fn lines<'py>(
        &mut self,
        py: Python<'py>,
        block: &Bound<'py, PyBytes>,
    ) -> PyResult<Bound<'py, PyList>> {
        let bytes = block.as_bytes();
        let reader = &mut self.memory.reader;
        let found = py.detach(|| reader.lines(bytes));
        self.runs(py, &found)
    }

    /// The same of `messages`, serialized responses; `start` and `end` count them.
    ///
    /// A time after `latest`, nanoseconds since 1970, isn't recognised.
    #[pyo3(signature = (messages, latest = LATEST))]
    fn messages<'py>(
        &mut self,
        py: Python<'py>,
        messages: Vec<Bound<'py, PyBytes>>,
        latest: u64,
    ) -> PyResult<Bound<'py, PyList>> {
        let bytes: Vec<&[u8]> = messages.iter().map(|one| one.as_bytes()).collect();
        let reader = &mut self.memory.reader;
        let found = py.detach(|| reader.messages(&bytes, latest));
        self.runs(py, &found)
    }

    /// What the parts of a record are, by its token.
    ///
    /// `more` goes with the kind. `names` is what they are in records of a kind with this `view`. A token
    /// from before the memory began anew is forgotten.
    #[expect(clippy::too_many_arguments, reason = "one for each part")]
    fn learn(
        &mut self,
        token: Token,
        kind: Py<PyAny>,
        more: Py<PyAny>,
        view: u32,
        source: Py<PyAny>,
        destination: Py<PyAny>,
        names: Py<PyAny>,
    ) {
        let (turn, numbers) = (token.0, (token.1, token.2, token.3, token.4).into());
        if turn == self.memory.turn() {
            let kind = Kind { kind, more, view };
            self.memory
                .learn(&numbers, kind, source, destination, names);
        }
    }
}

impl Scanner {
    fn runs<'py>(&mut self, py: Python<'py>, found: &[Found<'_>]) -> PyResult<Bound<'py, PyList>> {
        self.memory.begin();
        let runs = PyList::empty(py);
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            return Ok(runs);
        };
        let mut run = Run::new(py, first.start, Way::Raw);
        for (one, way) in found.iter().zip(self.ways(py, found)?) {
            let (way, item) = self.item(py, one, way)?;
            if way != run.way {
                let next = Run::new(py, one.start, way);
                std::mem::replace(&mut run, next).end(one.start, &runs)?;
            }
            if let Some(item) = item {
                run.items.append(item)?;
            }
        }
        run.end(last.end, &runs)?;
        Ok(runs)
    }

    /// How each record is to be given out, in runs that aren't too short.
    fn ways(&mut self, py: Python<'_>, found: &[Found<'_>]) -> PyResult<Vec<Way>> {
        let join = |source: &Py<PyAny>, destination: &Py<PyAny>, names: &Py<PyAny>| {
            self.join.call1(py, (source, destination, names))
        };
        let mut ways = Vec::with_capacity(found.len());
        for one in found {
            ways.push(match &one.recognised {
                None => Way::Raw,
                Some((which, _)) if self.memory.join(which, join)? => Way::Made,
                Some(_) => Way::New,
            });
        }
        for (from, to) in [(Way::Made, Way::New), (Way::New, Way::Raw)] {
            let runs = ways.chunk_by(|one, next| one == next).count();
            if runs <= FEW_RUNS || runs * RECORDS_A_RUN <= ways.len() {
                break;
            }
            for way in ways.iter_mut().filter(|way| **way == from) {
                *way = to;
            }
        }
        Ok(ways)
    }

    fn item<'py>(
        &mut self,
        py: Python<'py>,
        found: &Found<'_>,
        way: Way,
    ) -> PyResult<(Way, Option<Bound<'py, PyAny>>)> {
        let Some((which, varying)) = &found.recognised else {
            return Ok((Way::Raw, None));
        };
        let made = match (way, self.memory.known(which)) {
            (Way::Made, Some((kind, ends))) => (
                kind.kind.clone_ref(py),
                ends.clone_ref(py),
                kind.more.clone_ref(py),
            ),
            (Way::Raw, _) => return Ok((way, None)),
            _ => return Ok((Way::New, Some(self.unknown(py, which, varying)?.into_any()))),
        };
        let layer7 = match varying.layer7 {
            None => None,
            Some(bytes) => match self.layer7.call1(py, (PyBytes::new(py, bytes),)) {
                Ok(read) => Some(read),
                Err(_) => return Ok((Way::Raw, None)),
            },
        };
        let parts = (
            made.0,
            made.1,
            varying.time,
            self.strings.get(py, varying.source_ip),
            self.strings.get(py, varying.destination_ip),
            varying.source_port,
            varying.destination_port,
            PyString::new(py, varying.uuid),
            layer7,
            made.2,
        );
        Ok((Way::Made, Some(self.make.bind(py).call1(parts)?)))
    }

    fn unknown<'py>(
        &mut self,
        py: Python<'py>,
        which: &Which,
        varying: &Varying<'_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let token: Token = (
            self.memory.turn(),
            which.kind,
            which.source,
            which.destination,
            which.names,
        );
        (
            token,
            varying.time,
            varying.source_ip,
            varying.destination_ip,
            varying.source_port,
            varying.destination_port,
            varying.uuid,
            varying.layer7.map(|bytes| PyBytes::new(py, bytes)),
        )
            .into_pyobject(py)
    }
}

/// Records in a row that are given out in the same way.
struct Run<'py> {
    start: usize,
    way: Way,
    items: Bound<'py, PyList>,
}

impl<'py> Run<'py> {
    fn new(py: Python<'py>, start: usize, way: Way) -> Self {
        Self {
            start,
            way,
            items: PyList::empty(py),
        }
    }

    fn end(self, end: usize, runs: &Bound<'py, PyList>) -> PyResult<()> {
        if end == self.start {
            return Ok(());
        }
        let (made, new) = match self.way {
            Way::Made => (Some(self.items), None),
            Way::New => (None, Some(self.items)),
            Way::Raw => (None, None),
        };
        runs.append((self.start, end, made, new))
    }
}

/// The messages of the HTTP/2 frames in `data` from `at` on, and where the first frame begins that is
/// anything but one whole message, of `limit` bytes at most and without flags, on `stream`; or that
/// isn't there whole.
#[pyfunction]
#[pyo3(name = "frames")]
fn messages_of_frames<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    at: usize,
    stream: u32,
    limit: usize,
) -> PyResult<(Bound<'py, PyList>, usize)> {
    let bytes = data.as_bytes();
    let (found, end) = frames::messages(bytes, at, stream, limit);
    let messages: Vec<_> = found
        .into_iter()
        .map(|(start, end)| PyBytes::new(py, &bytes[start..end]))
        .collect();
    Ok((PyList::new(py, messages)?, end))
}

/// What flowwatch imports.
#[pymodule]
fn flowwatch_scan(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add("UNREAD", UNREAD)?;
    module.add_class::<Scanner>()?;
    module.add_function(wrap_pyfunction!(messages_of_frames, module)?)
}
