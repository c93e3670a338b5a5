//! Exit codes: what scripts may rely on.

use std::process::ExitCode;

/// How a command ended. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: it did not work; the reason was printed.
    Error,
    /// 2: `plan` found something to do.
    Changes,
    /// 3: the run failed.
    RunFailed,
    /// 4: the run was cancelled.
    RunCancelled,
    /// 5: the run is lost, or never started.
    RunLost,
    /// 124: the run's time was over.
    Deadline,
    /// 130: interrupted.
    Interrupted,
    /// The code of the command that `exec` or `shell` ran.
    Passed(u8),
}

impl Exit {
    /// What became of a run, in the words of the API.
    pub fn of_run(phase: &str, reason: &str) -> Self {
        match (phase, reason) {
            ("Succeeded", _) => Self::Ok,
            ("Cancelled", _) => Self::RunCancelled,
            ("Lost" | "NeverStarted", _) => Self::RunLost,
            (_, "Deadline") => Self::Deadline,
            _ => Self::RunFailed,
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::RunFailed => 3,
            Self::RunCancelled => 4,
            Self::RunLost => 5,
            Self::Deadline => 124,
            Self::Interrupted => 130,
            Self::Passed(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_run_has_a_number_of_its_own() {
        for (phase, reason, code) in [
            ("Succeeded", "Succeeded", 0),
            ("Failed", "MaxTurns", 3),
            ("Failed", "Deadline", 124),
            ("Cancelled", "Cancelled", 4),
            ("NeverStarted", "Deadline", 5),
            ("Lost", "Lost", 5),
            ("Novel", "", 3),
        ] {
            assert_eq!(Exit::of_run(phase, reason).code(), code, "{phase} {reason}");
        }
    }
}
