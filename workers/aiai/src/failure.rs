//! Errors as a person and a script see them: one line with the fix, and an exit code.

use std::process::ExitCode;

/// The command worked, what it looked at does not.
pub const UNHEALTHY: u8 = 3;

/// Wrong use that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Nobody answers, outside NATS.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Prints an error and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    crate::output::say(&bus::chain(error.as_ref()));
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Usage>().is_some() {
        return 2;
    }
    if error.downcast_ref::<Unreachable>().is_some() {
        return 6;
    }
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<bus::Error>());
    match cause {
        Some(bus::Error::NotLoopback { .. }) => 2,
        Some(bus::Error::UnsafeDrift { .. }) => UNHEALTHY,
        Some(bus::Error::ServerNotFound) => 4,
        Some(bus::Error::Unauthorized { .. }) => 5,
        Some(bus::Error::Unreachable { .. } | bus::Error::NoResponders { .. }) => 6,
        Some(bus::Error::RequestTimeout { .. }) => 7,
        Some(bus::Error::Service { code: 404, .. }) => 4,
        Some(bus::Error::Service { code: 408 | 504, .. }) => 7,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_cause() {
        let nobody = bus::Error::NoResponders {
            subject: "query.sql".into(),
            worker: "sink".into(),
        };
        assert_eq!(code(&nobody.into()), 6);
        assert_eq!(code(&Usage("x".into()).into()), 2);
        assert_eq!(code(&anyhow::anyhow!("anything")), 1);
    }
}
