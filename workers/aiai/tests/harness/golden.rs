//! Outputs as they were. `AIAI_BLESS=1` writes them anew: read the difference before committing it.

use std::path::Path;

/// Compares with `tests/golden/<name>.txt`.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("AIAI_BLESS").is_some() {
        std::fs::write(&path, text).expect("writes");
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        wanted,
        "{name} differs from {}; AIAI_BLESS=1 accepts it",
        path.display()
    );
}
