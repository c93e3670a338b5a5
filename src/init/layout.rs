//! Where chanop's own things appear inside a container, and init's exit codes.
//!
//! A contract between the template (which mounts them), the host (which prepares them) and init (which reads them). It
//! may be added to, never changed: containers made before an upgrade go on.
//!
//! ```text
//! /.chanop/init        the init itself                     ro file   <state>/bin/chanop-init
//! /.chanop/mounts      which thing each mount must be      ro file   <state>/channels/<channel>/mounts-<fingerprint>
//! /.chanop/gitignore   the owner's git excludes            ro file   <state>/channels/<channel>/gitignore
//! /.chanop/secrets/    holds `env`, `api-key`, `mcp.json`, `run-mcp.json`  ro dir  <tmpfs>/<channel>
//! /.chanop/bin/        programs that come before the image's  ro files  the operator's CLI, where it is injected
//! /etc/claude-code/managed-settings.d/50-chanop.json   where the key is, if there is one  ro file  <state>/channels/<channel>/managed-settings.json
//! /.chanop/stdin       what a run reads, if anything       ro file   <state>/channels/<channel>/runs/<run>/<attempt>/stdin
//! /.chanop/attempt     that and how a run's command ran    rw file   <state>/channels/<channel>/runs/<run>/<attempt>/attempt
//! ```

/// The directory of everything that is chanop's.
pub const DIRECTORY: &str = "/.chanop";
/// The init: entrypoint, and first word of every exec.
pub const INIT: &str = "/.chanop/init";
/// The secrets' directory. A directory is mounted and not the file, so that a new value reaches the next exec.
pub const SECRETS: &str = "/.chanop/secrets";
/// The file in it: see [`super::secrets`].
pub const SECRETS_FILE: &str = "env";
/// The agent's key in it, where it signs in with one; the CLI has it read by a helper, so that it is in no environment.
pub const API_KEY_FILE: &str = "api-key";
/// The agent's MCP servers in it, with their secrets: see [`crate::claude::mcp`].
pub const MCP_FILE: &str = "mcp.json";
/// The same for runs: their project's file counts in it, and a shell that is started meanwhile does not put its own there.
pub const RUN_MCP_FILE: &str = "run-mcp.json";
/// Settings of the CLI that count before all others, so that one started by hand in a shell finds its key too.
pub const MANAGED_SETTINGS: &str = "/etc/claude-code/managed-settings.d/50-chanop.json";
/// In the environment of a command at a terminal, a word that no other has: see [`super::leash`].
pub const SESSION_VARIABLE: &str = "CHANOP_SESSION";
/// The identity list: see [`super::mounts`].
pub const MOUNTS: &str = "/.chanop/mounts";
/// The owner's git excludes file.
pub const GITIGNORE: &str = "/.chanop/gitignore";
/// What is injected into the image: init puts it in front of PATH, where it is there.
pub const PROGRAMS: &str = "/.chanop/bin";
/// What a run's command reads as its standard input: its prompt, which as an argument all could read in `docker inspect`.
pub const STDIN: &str = "/.chanop/stdin";
/// Where a run's init notes that its command was started, and how it ended: see [`super::attempt`].
pub const ATTEMPT: &str = "/.chanop/attempt";

/// Exit code when a mount is not the thing that was prepared: `EX_CONFIG` of `sysexits.h`.
pub const EXIT_MOUNTS: u8 = 78;
/// Exit code when the command was started before, and must not be a second time.
pub const EXIT_STARTED_BEFORE: u8 = 254;
