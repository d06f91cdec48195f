//! Python's strings of addresses, made once for each, in bounded memory.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Text → its string.
pub struct Strings {
    made: HashMap<Box<str>, Py<PyString>, RandomState>,
    most: usize,
}

impl Strings {
    /// Of `most` texts at most; past it the memory starts anew.
    pub fn new(most: usize) -> Self {
        Self {
            made: HashMap::default(),
            most,
        }
    }

    /// The string of `text`.
    pub fn get<'py>(&mut self, py: Python<'py>, text: &str) -> Bound<'py, PyString> {
        if let Some(made) = self.made.get(text) {
            return made.bind(py).clone();
        }
        if self.made.len() >= self.most {
            self.made.clear();
        }
        let made = PyString::new(py, text);
        self.made.insert(text.into(), made.clone().unbind());
        made
    }
}
