//! One arena for the allocator of glibc, which would open one for nearly every thread and give little back.
//!
//! DuckDB allocates there, too, on whichever thread a transaction or a query runs: under a steady load a process grew
//! without end. glibc reads the setting only where a program starts, so the program starts itself once more, in the
//! same process. Measured with 6,000 events a second: 240 MB after three minutes instead of 450, at the same speed.

/// Starts this program anew with one arena. Returns where that is so already, is not to be, or cannot be.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn use_one() {
    use std::os::unix::process::CommandExt;

    const ARENAS: &str = "MALLOC_ARENA_MAX";
    // glibc removes its settings from a program with privileges of its own (`setcap`): it would start itself for ever.
    const ANEW: &str = "AIAI_STARTED_ANEW";
    if [ARENAS, ANEW]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some())
    {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only where it fails.
    let error = command.args(arguments).env(ARENAS, "1").env(ANEW, "1").exec();
    crate::output::say(&format!(
        "could not start anew with {ARENAS}=1 ({error}): going on, with more memory; set it yourself to avoid that"
    ));
}

/// Elsewhere there is nothing to set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn use_one() {}
