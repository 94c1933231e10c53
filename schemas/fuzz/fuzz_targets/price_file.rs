//! A price table as a person writes it: read or refused with places, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schemas::price::PriceTable;

fuzz_target!(|text: &str| {
    let _ = PriceTable::parse("fuzz.toml", text);
});
