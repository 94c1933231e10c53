//! Who may ask, and what a browser may do with the answer.
//!
//! A web page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding) and would then be
//! same-origin with us. Its requests carry its name as the host, so only our own names are answered.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

const CSP: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, CSP),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Refuses foreign hosts with 421, and sets the security headers of every answer.
pub(crate) async fn guard(State(listen): State<SocketAddr>, request: Request, next: Next) -> Response {
    let mut response = if is_ours(&request, listen) {
        next.run(request).await
    } else {
        // Every address of this machine is no address that a browser can open.
        let name = if listen.ip().is_unspecified() {
            format!("localhost:{}", listen.port())
        } else {
            listen.to_string()
        };
        let problem = format!("this page answers to localhost and {name} only: open http://{name}/\n");
        (StatusCode::MISDIRECTED_REQUEST, problem).into_response()
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The host is in the target (HTTP/2) or in the header `Host`. Any port: a tunnel may use another one.
fn is_ours(request: &Request, listen: SocketAddr) -> bool {
    let header = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    let authority: Option<Authority> = request.uri().authority().cloned().or_else(header);
    authority.is_some_and(|authority| host_is_ours(authority.host(), listen.ip()))
}

fn host_is_ours(host: &str, listen: IpAddr) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || (ip == listen && !ip.is_unspecified()),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_answered() {
        let listen = "127.0.0.1".parse().unwrap();
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"] {
            assert!(host_is_ours(host, listen), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "localhost.",
            "0.0.0.0",
        ] {
            assert!(!host_is_ours(host, listen), "{host}");
            let everywhere = "0.0.0.0".parse().unwrap();
            assert!(!host_is_ours(host, everywhere), "{host}, listening everywhere");
        }
        let outside = "10.0.0.1".parse().unwrap();
        assert!(host_is_ours("10.0.0.1", outside) && !host_is_ours("10.0.0.2", outside));
    }
}
