//! Writing JSON text straight into a message: no tree of values in between.

use std::fmt::Display;
use std::io::Write as _;

use schemas::Time;

use super::cut::{Cuts, MARK, cut};

/// A JSON object being written.
pub(super) struct Object<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl<'b> Object<'b> {
    pub(super) fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// The place where the value of a member is to be written.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        text(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A text of at most so many bytes, cut if it is longer.
    pub(super) fn text(&mut self, name: &str, value: &str, bytes_max: usize, cuts: &mut Cuts) {
        let value = cut(value, bytes_max, cuts);
        text(self.member(name), &value);
    }

    /// As [`Object::text`], left out where there is none or it is empty.
    pub(super) fn text_if(&mut self, name: &str, value: Option<&str>, bytes_max: usize, cuts: &mut Cuts) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.text(name, value, bytes_max, cuts);
        }
    }

    /// A text that is known to be short and plain.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        let out = self.member(name);
        out.push(b'"');
        show(out, value);
        out.push(b'"');
    }

    /// A number, or JSON text.
    pub(super) fn raw(&mut self, name: &str, value: impl Display) {
        show(self.member(name), value);
    }

    /// A number that is there.
    pub(super) fn raw_if(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.raw(name, value);
        }
    }

    /// A finite number.
    pub(super) fn number(&mut self, name: &str, value: f64) {
        number(self.member(name), value);
    }

    /// Bytes in hexadecimal.
    pub(super) fn hex(&mut self, name: &str, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let out = self.member(name);
        out.push(b'"');
        for byte in bytes {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
        out.push(b'"');
    }

    /// A time, where there is one.
    pub(super) fn time(&mut self, name: &str, time: Option<Time>) {
        if let Some(time) = time {
            self.plain(name, time);
        }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// How long the text is so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }
}

/// Writes a text with its quotes and escapes.
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    // Memory takes everything.
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Writes a number; what JSON has no number for as a text.
pub(super) fn number(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let written = serde_json::to_writer(&mut *out, &value);
        debug_assert!(written.is_ok(), "{written:?}");
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        });
    }
}

/// Writes what needs no escapes.
pub(super) fn show(out: &mut Vec<u8>, value: impl Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Stands for what there was no room for.
pub(super) fn mark(out: &mut Vec<u8>) {
    text(out, MARK);
}
