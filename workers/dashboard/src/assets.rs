//! Style sheet, script and icon, compiled in and served under URLs that name their content:
//! a browser may keep them for ever, and a new build is never mixed with an old file.

use std::sync::LazyLock;

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    routing::get,
};

/// A compiled-in file.
#[derive(Clone, Debug)]
pub(crate) struct Asset {
    /// `/assets/<name>.<hash of the content>.<extension>`
    pub(crate) url: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = fnv1a(content.as_bytes());
        Self {
            url: format!("/assets/{name}.{hash:016x}.{extension}"),
            content_type,
            content,
        }
    }
}

/// The look of the page.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "style",
        "css",
        "text/css; charset=utf-8",
        include_str!("../assets/style.css"),
    )
});
/// The live part of the page.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "live",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/live.js"),
    )
});
/// Reading values from a chart.
pub(crate) static CHART: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "chart",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/chart.js"),
    )
});
/// The icon of the browser tab.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("../assets/icon.svg")));

/// Serves the files, and nothing else, below `/assets/`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    [&*STYLE, &*SCRIPT, &*CHART, &*ICON]
        .into_iter()
        .fold(Router::new(), |router, asset| {
            let headers = [
                (CONTENT_TYPE, asset.content_type),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            let content = asset.content;
            router.route(&asset.url, get(move || async move { (headers, content) }))
        })
}

/// FNV-1a, 64 bits: names a version of a file; it protects against nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_files_stay_small_and_self_contained() {
        assert!(
            STYLE.content.len() <= 14 * 1024,
            "style.css has {} bytes",
            STYLE.content.len()
        );
        for script in [&SCRIPT, &CHART] {
            let lines = script.content.lines().count();
            assert!(lines <= 190, "{} has {lines} lines", script.url);
        }
        for asset in [&STYLE, &SCRIPT, &CHART] {
            for outside in ["://", "@import", "url("] {
                assert!(!asset.content.contains(outside), "{} has {outside}", asset.url);
            }
        }
    }
}
