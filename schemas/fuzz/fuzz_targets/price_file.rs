//! A price table as a person writes it, and the lists of others that `aiai prices import` reads: read or refused with
//! places, never a panic; what is made of a list can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schemas::price::PriceTable;
use schemas::price::import::{Format, import};

fuzz_target!(|text: &str| {
    let _ = PriceTable::parse("fuzz.toml", text);
    for format in [Format::GenaiPrices, Format::Litellm] {
        if let Ok(imported) = import(format, "fuzz.json", text, "1") {
            PriceTable::parse("made.toml", &imported.text).expect("what import makes can be read");
        }
    }
});
