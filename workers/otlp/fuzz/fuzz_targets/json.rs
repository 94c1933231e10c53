//! A request in JSON: see `request`.
#![no_main]

mod request;

use libfuzzer_sys::fuzz_target;
use otlp::Encoding;

fuzz_target!(|bytes: &[u8]| request::look(Encoding::Json, bytes));
