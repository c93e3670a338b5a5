//! Ends a terminal's session when whoever sat before it is gone.
//!
//! The engine keeps an exec'd command and its terminal when the client vanishes, and has no call to end one. But it closes
//! the standard input of a command *without* a terminal. So the client runs this beside the session, holding its input: when
//! that ends, whatever became of the client, the session hears what it would hear of a terminal that goes away, a HUP.
//!
//! The session is known by a variable with a word that is in no other. The engine's own child is the one among those that
//! have it whose parent is outside the container, so that children, even orphaned ones, are never meant.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::layout;

/// The agent ends within a quarter of a second; what has not after this does not listen.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for the end of standard input, then hangs up on the session; with `kill` it does not survive that.
pub(super) fn hold(session: &OsStr, kill: bool) -> u8 {
    // An input that cannot be read is one that has ended.
    let mut buffer = [0; 64];
    while let Ok(1..) = std::io::stdin().read(&mut buffer) {}
    let Some(leader) = leader(Path::new("/proc"), session) else { return 0 };
    signal(leader, Signal::HUP);
    // As the kernel does: what is stopped would not hear it.
    signal(leader, Signal::CONT);
    let mut waited = Duration::ZERO;
    while kill && self::leader(Path::new("/proc"), session) == Some(leader) {
        if waited >= GRACE {
            signal(leader, Signal::KILL);
            break;
        }
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
    0
}

fn signal(pid: Pid, signal: Signal) {
    // It may have ended just now.
    let _ = kill_process(pid, signal);
}

/// The process that the engine started for `session`.
fn leader(proc: &Path, session: &OsStr) -> Option<Pid> {
    let wanted = [layout::SESSION_VARIABLE.as_bytes(), b"=", session.as_bytes()].concat();
    let own = std::process::id();
    for entry in std::fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let from_outside =
            || std::fs::read(entry.path().join("stat")).is_ok_and(|it| has_no_parent(&it));
        let of_session = || {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
        };
        if pid != own && from_outside() && of_session() {
            return Pid::from_raw(pid.cast_signed());
        }
    }
    None
}

/// Is the parent in another PID namespace? The fourth word; the second, a program's name in brackets, may hold anything.
fn has_no_parent(stat: &[u8]) -> bool {
    let after_name = stat.iter().rposition(|byte| *byte == b')').and_then(|at| stat.get(at + 1..));
    let words = after_name.unwrap_or_default().split(|byte| *byte == b' ');
    words.filter(|word| !word.is_empty()).nth(1) == Some(b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_engines_own_child_of_the_session_is_meant() {
        let proc = tempfile::tempdir().unwrap();
        let put = |pid: u32, stat: &str, environ: &str| {
            let directory = proc.path().join(pid.to_string());
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("stat"), stat).unwrap();
            std::fs::write(directory.join("environ"), environ).unwrap();
        };
        let mine = "PATH=/bin\0CHANOP_SESSION=abc\0";
        put(1, "1 (init) S 0 1 1 0", "");
        put(7_000_007, "7000007 (a) 0 b) S 0 7 7 0", mine);
        put(7_000_008, "7000008 (child) S 7000007 7 7 0", mine);
        put(7_000_009, "7000009 (orphan 0) S 1 9 9 0", mine);
        put(7_000_010, "7000010 (other) S 0 9 9 0", "CHANOP_SESSION=abcd\0");
        let found = |session: &str| {
            leader(proc.path(), OsStr::new(session)).map(|pid| pid.as_raw_nonzero().get())
        };
        assert_eq!(found("abc"), Some(7_000_007));
        assert_eq!(found("ab"), None);
        assert_eq!(found("abcd"), Some(7_000_010));
    }
}
