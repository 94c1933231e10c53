//! A request in protobuf: see `request`.
#![no_main]

mod request;

use libfuzzer_sys::fuzz_target;
use otlp::Encoding;

fuzz_target!(|bytes: &[u8]| request::look(Encoding::Protobuf, bytes));
