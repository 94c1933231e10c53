//! Lets the executable find libduckdb: where it was linked from, beside the executable, or in `../lib`
//! (how an image or an archive lays it out). Nothing to do when DuckDB is compiled in.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    let here = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => "@executable_path",
        _ => "$ORIGIN",
    };
    // Beside the executable first: what was shipped together runs together.
    let beside = [here.to_owned(), format!("{here}/../lib")];
    for directory in beside.into_iter().chain(env::var("DUCKDB_LIB_DIR")) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{directory}");
    }
}
